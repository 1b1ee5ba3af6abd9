package xl

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// Altp2m says who may use altp2m views of a guest. The empty value permits nobody.
type Altp2m string

// Altp2mExternal permits views to a monitor in dom0, and not to the guest itself
// (xl.cfg(5), altp2m).
const Altp2mExternal Altp2m = "external"

// guestName matches the permitted names of guests.
var guestName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// Config describes a guest. With a disc it is of type HVM: it has a BIOS, and devices that
// QEMU emulates. Without, it is of type PVH, and Xen starts its kernel.
type Config struct {
	Name      string // name of the domain: letters, digits, '-', '_', '.'
	VCPUs     int    // 1 to 32
	MemoryMiB int    // at least 64
	Disc      string // path of the image in dom0 of the disc that the guest boots from, or empty
	Kernel    string // path of the kernel image in dom0; empty with a disc
	Ramdisk   string // path of the initramfs in dom0; empty with a disc
	Cmdline   string // kernel command line; empty with a disc
	Altp2m    Altp2m
	Disk      string // path of the block device in dom0 that becomes the guest's xvda, or empty
	// TimeOffset is by how many seconds the guest's wall clock is later than the host's.
	TimeOffset int
}

// Render returns the text of the xl configuration. It returns an error for a value out
// of its range, and for text that xl would read as something else.
func (c Config) Render() ([]byte, error) {
	switch {
	case !guestName.MatchString(c.Name):
		return nil, fmt.Errorf("guest name %q: use letters, digits, '-', '_' and '.'", c.Name)
	case c.VCPUs < 1 || c.VCPUs > 32:
		return nil, fmt.Errorf("guest %s: %d vCPUs, want 1 to 32", c.Name, c.VCPUs)
	case c.MemoryMiB < 64:
		return nil, fmt.Errorf("guest %s: %d MiB of memory, want at least 64", c.Name, c.MemoryMiB)
	case c.Kernel == "" && c.Disc == "":
		return nil, fmt.Errorf("guest %s: neither a kernel image nor a disc given", c.Name)
	case c.Disc != "" && c.Kernel+c.Ramdisk+c.Cmdline != "":
		return nil, fmt.Errorf("guest %s: a kernel given beside a disc, which has one", c.Name)
	}
	for what, path := range map[string]string{"disk": c.Disk, "disc": c.Disc} {
		if strings.ContainsAny(path, ", ") {
			return nil, fmt.Errorf("guest %s: %s %q has a comma or a space, which separate xl's words", c.Name, what, path)
		}
	}
	for _, f := range []struct{ what, text string }{
		{"kernel", c.Kernel}, {"ramdisk", c.Ramdisk}, {"command line", c.Cmdline}, {"disk", c.Disk},
		{"disc", c.Disc},
	} {
		if strings.ContainsAny(f.text, "\"\\\n\r\x00") {
			return nil, fmt.Errorf("guest %s: %s %q has a quote, a backslash or a line end, which xl reads as something else",
				c.Name, f.what, f.text)
		}
	}
	var b bytes.Buffer
	str := func(key, val string) {
		if val != "" {
			fmt.Fprintf(&b, "%s = \"%s\"\n", key, val)
		}
	}
	str("name", c.Name)
	kind := "pvh"
	if c.Disc != "" {
		kind = "hvm"
	}
	str("type", kind)
	fmt.Fprintf(&b, "vcpus = %d\nmemory = %d\nmaxmem = %d\n", c.VCPUs, c.MemoryMiB, c.MemoryMiB)
	str("kernel", c.Kernel)
	str("ramdisk", c.Ramdisk)
	str("extra", c.Cmdline)
	str("altp2m", string(c.Altp2m))
	if c.Disk != "" {
		// phy: the backend in dom0's kernel (xl-disk-configuration(5)).
		fmt.Fprintf(&b, "disk = [ \"format=raw, vdev=xvda, access=rw, backendtype=phy, target=%s\" ]\n", c.Disk)
	}
	if c.Disc != "" {
		// No screen. The BIOS reads a drive on virtio by DMA. It reads one on IDE, as xl's disk has
		// it, two bytes at a time, and QEMU gets to emulate each two.
		fmt.Fprintf(&b, "vga = \"none\"\nvnc = 0\nusb = 0\ndevice_model_args_hvm = [ \"%s\" ]\n", strings.Join([]string{
			"-device", "virtio-scsi-pci,id=scsi",
			"-drive", "if=none,id=disc,media=cdrom,format=raw,readonly=on,file=" + c.Disc,
			"-device", "scsi-cd,bus=scsi.0,drive=disc,bootindex=0",
		}, "\", \""))
	}
	if c.TimeOffset != 0 {
		fmt.Fprintf(&b, "rtc_timeoffset = %d\n", c.TimeOffset)
	}
	// Xen keeps a guest that has ended, so that its state can be examined.
	for _, when := range []string{"on_poweroff", "on_reboot", "on_crash", "on_watchdog"} {
		str(when, "preserve")
	}
	return b.Bytes(), nil
}
