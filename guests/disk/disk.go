package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Devices of the RAM disk (module brd) and of the device mapper's control (module
// dm-mod).
const (
	ramDisk = "/dev/ram0"
	control = "/dev/mapper/control"
)

// ErrNone reports that this dom0 has no RAM disk or no device mapper.
var ErrNone = errors.New("no RAM disk or no device mapper: load the kernel modules brd and dm-mod")

// Disk is a device-mapper device over the whole RAM disk.
type Disk struct {
	// Path is the path of the device, such as /dev/dm-0.
	Path string

	name    string
	ctl     *os.File
	ram     uint64 // device number of the RAM disk
	sectors uint64 // of 512 bytes
}

// The device mapper's interface, from include/uapi/linux/dm-ioctl.h. The argument of an
// ioctl is a header, with the command's data behind it.
const (
	cmdCreate  = 3
	cmdRemove  = 4
	cmdSuspend = 6 // also resumes
	cmdLoad    = 9

	flagSuspend = 1 << 1
	flagNoFlush = 1 << 11 // do not wait for requests in progress
	flagNoSync  = 1 << 10 // do not freeze a file system on the device

	headerSize = 312
	specSize   = 40
	nameSize   = 128
)

// header is struct dm_ioctl.
type header struct {
	Version     [3]uint32
	DataSize    uint32
	DataStart   uint32
	TargetCount uint32
	OpenCount   int32
	Flags       uint32
	EventNr     uint32
	_           uint32
	Dev         uint64
	Name        [nameSize]byte
	_           [129 + 7]byte
}

// spec is struct dm_target_spec.
type spec struct {
	Start, Length uint64 // sectors
	Status        int32
	Next          uint32
	Type          [16]byte
}

// request returns the argument of an ioctl.
func request(name string, flags uint32, targets ...[]byte) ([]byte, error) {
	if len(name) >= nameSize {
		return nil, fmt.Errorf("the name %q is too long", name)
	}
	body := bytes.Join(targets, nil)
	h := header{
		Version: [3]uint32{4, 0, 0}, DataSize: uint32(headerSize + len(body)), DataStart: headerSize,
		TargetCount: uint32(len(targets)), Flags: flags,
	}
	copy(h.Name[:], name)
	b, err := binary.Append(nil, binary.LittleEndian, &h)
	return append(b, body...), err
}

// target returns a target that maps to another device, from its first sector on. Its
// kind is linear; or delay, which completes each request delayMS milliseconds later; or
// error, which completes each request with an error and maps to nothing.
func target(kind string, dev, sectors uint64, delayMS int64) ([]byte, error) {
	var params []byte
	if kind != "error" {
		params = fmt.Appendf(nil, "%d:%d 0", unix.Major(dev), unix.Minor(dev))
	}
	if kind == "delay" {
		params = fmt.Appendf(params, " %d", delayMS)
	}
	params = append(params, 0)
	for len(params)%8 != 0 {
		params = append(params, 0)
	}
	s := spec{Length: sectors, Next: uint32(specSize + len(params))}
	copy(s.Type[:], kind)
	b, err := binary.Append(nil, binary.LittleEndian, &s)
	return append(b, params...), err
}

// ioctl runs a command of the device mapper and returns the device number of the
// answer. what names the command in errors.
func (d *Disk) ioctl(what string, cmd uintptr, flags uint32, targets ...[]byte) (dev uint64, err error) {
	b, err := request(d.name, flags, targets...)
	if err != nil {
		return 0, fmt.Errorf("%s disk %s: %w", what, d.name, err)
	}
	// _IOWR(0xfd, cmd, struct dm_ioctl)
	nr := uintptr(3<<30 | headerSize<<16 | 0xfd<<8)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, d.ctl.Fd(), nr|cmd, uintptr(unsafe.Pointer(&b[0]))); e != 0 {
		return 0, fmt.Errorf("%s disk %s: %w", what, d.name, e)
	}
	return binary.LittleEndian.Uint64(b[40:]), nil // header.Dev
}

// Make makes a disk from the RAM disk. name is the name of the device-mapper device.
// The error is ErrNone without a RAM disk or a device mapper.
func Make(name string) (_ *Disk, err error) {
	var st unix.Stat_t
	if err := unix.Stat(ramDisk, &st); err != nil {
		return nil, ErrNone
	}
	d := &Disk{name: name}
	if d.ctl, err = os.OpenFile(control, os.O_RDWR, 0); err != nil {
		return nil, ErrNone
	}
	defer func() {
		if err != nil {
			d.ctl.Close()
		}
	}()
	ram, err := os.Open(ramDisk)
	if err != nil {
		return nil, fmt.Errorf("make disk %s: %w", name, err)
	}
	size, err := ram.Seek(0, 2)
	ram.Close()
	if err != nil {
		return nil, fmt.Errorf("make disk %s: %w", name, err)
	}
	d.ram, d.sectors = st.Rdev, uint64(size)/512
	dev, err := d.ioctl("make", cmdCreate, 0)
	if err != nil {
		return nil, err
	}
	d.Path = fmt.Sprintf("/dev/dm-%d", unix.Minor(dev))
	if err = d.load("linear", 0); err != nil {
		_, rerr := d.ioctl("remove", cmdRemove, 0)
		return nil, errors.Join(err, rerr)
	}
	return d, nil
}

// load replaces the device's table by one target, and resumes the device.
func (d *Disk) load(kind string, delayMS int64) error {
	t, err := target(kind, d.ram, d.sectors, delayMS)
	if err != nil {
		return fmt.Errorf("load disk %s: %w", d.name, err)
	}
	if _, err := d.ioctl("load", cmdLoad, 0, t); err != nil {
		return err
	}
	return d.Resume()
}

// Delay makes the disk complete each request later by a whole number of milliseconds.
// 0 removes the delay. It needs the kernel module dm-delay.
func (d *Disk) Delay(by time.Duration) error {
	if by < time.Millisecond {
		return d.load("linear", 0)
	}
	return d.load("delay", by.Milliseconds())
}

// Fail makes the disk complete each request with an error. A call with false ends this, and
// any delay.
func (d *Disk) Fail(fail bool) error {
	if fail {
		return d.load("error", 0)
	}
	return d.load("linear", 0)
}

// Suspend makes the disk accept requests and complete none.
func (d *Disk) Suspend() error {
	_, err := d.ioctl("suspend", cmdSuspend, flagSuspend|flagNoFlush|flagNoSync)
	return err
}

// Resume makes the disk complete the requests that it has accepted, and new ones.
func (d *Disk) Resume() error {
	_, err := d.ioctl("resume", cmdSuspend, 0)
	return err
}

// Close removes the disk. It fails with EBUSY while the disk is in use, and may then be
// called again.
func (d *Disk) Close() error {
	if _, err := d.ioctl("remove", cmdRemove, 0); err != nil {
		return err
	}
	return d.ctl.Close()
}
