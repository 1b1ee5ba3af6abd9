package xl

import (
	"bytes"
	"fmt"
	"strings"
)

// Altp2m is who may use alternate p2m views of a guest.
type Altp2m string

const (
	// Altp2mOff means no views at all.
	Altp2mOff Altp2m = ""
	// Altp2mExternal means views for a monitor in dom0 and none for the guest
	// itself, which is what an agentless monitor wants (xl.cfg(5), altp2m).
	Altp2mExternal Altp2m = "external"
)

// Config describes a PVH guest.
type Config struct {
	Name      string // xl's name of the domain; letters, digits, '-', '_', '.'
	VCPUs     int    // 1 to 32
	MemoryMiB int    // at least 64
	Kernel    string // path of the kernel image in dom0
	Ramdisk   string // path of the initramfs in dom0
	Cmdline   string // kernel command line
	Altp2m    Altp2m
	Disk      string // path of a block device in dom0 that is the guest's xvda, or empty
	PinCPUs   string // xl's cpus= list, or empty for any physical CPU
}

// Render returns the text of the xl configuration.
func (c Config) Render() ([]byte, error) {
	switch {
	case c.Name == "" || strings.Trim(c.Name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "":
		return nil, fmt.Errorf("guest name %q: use letters, digits, '-', '_' and '.'", c.Name)
	case c.VCPUs < 1 || c.VCPUs > 32:
		return nil, fmt.Errorf("guest %s: %d vCPUs, want 1 to 32", c.Name, c.VCPUs)
	case c.MemoryMiB < 64:
		return nil, fmt.Errorf("guest %s: %d MiB of memory, want at least 64", c.Name, c.MemoryMiB)
	case c.Kernel == "":
		return nil, fmt.Errorf("guest %s: no kernel image given", c.Name)
	}
	for what, s := range map[string]string{"kernel": c.Kernel, "ramdisk": c.Ramdisk, "command line": c.Cmdline, "cpus": c.PinCPUs, "disk": c.Disk} {
		if what == "disk" && strings.ContainsAny(s, ", ") {
			return nil, fmt.Errorf("guest %s: %s %q holds a comma or a space, which separate xl's words", c.Name, what, s)
		}
		if strings.ContainsAny(s, "\"\n\r\x00") {
			return nil, fmt.Errorf("guest %s: %s %q holds a quote or a line end, which xl cannot read", c.Name, what, s)
		}
	}
	var b bytes.Buffer
	str := func(key, val string) {
		if val != "" {
			fmt.Fprintf(&b, "%s = \"%s\"\n", key, val)
		}
	}
	str("name", c.Name)
	str("type", "pvh")
	fmt.Fprintf(&b, "vcpus = %d\nmemory = %d\nmaxmem = %d\n", c.VCPUs, c.MemoryMiB, c.MemoryMiB)
	str("kernel", c.Kernel)
	str("ramdisk", c.Ramdisk)
	str("extra", c.Cmdline)
	str("cpus", c.PinCPUs)
	str("altp2m", string(c.Altp2m))
	if c.Disk != "" {
		// By the backend in dom0's kernel (xl-disk-configuration(5)).
		fmt.Fprintf(&b, "disk = [ \"format=raw, vdev=xvda, access=rw, backendtype=phy, target=%s\" ]\n", c.Disk)
	}
	// A guest that dies is kept: it is the evidence.
	for _, when := range []string{"on_poweroff", "on_reboot", "on_crash", "on_watchdog"} {
		str(when, "preserve")
	}
	return b.Bytes(), nil
}
