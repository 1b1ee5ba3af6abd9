package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/bench/dom0"
	"hangbench/guests/lab/place"
)

// setup makes a control domain of a freshly booted kernel.
func setup(ctx context.Context) error {
	for _, m := range []struct{ fs, dir, opts string }{
		{"proc", "/proc", ""}, {"sysfs", "/sys", ""}, {"devtmpfs", "/dev", ""},
		{"devpts", "/dev/pts", ""}, {"tmpfs", "/run", "mode=755"}, {"tmpfs", "/tmp", ""},
	} {
		if err := mount(m.fs, m.dir, m.opts); err != nil {
			return err
		}
	}
	for _, d := range []string{"/run/xen", "/run/xenstored", "/run/lock", "/var/lib/xen", "/var/lib/xenstored", consoles} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	if err := loadModules(place.Modules); err != nil {
		return err
	}
	if err := mount("xenfs", "/proc/xen", ""); err != nil {
		return err
	}
	if err := os.Setenv("PATH", place.XenBin+":/usr/sbin:/usr/bin"); err != nil {
		return err
	}
	for _, c := range [][]string{
		{"xenstored"},
		{"xen-init-dom0"},
		{"xenconsoled", "--log=all", "--log-dir=" + consoles},
	} {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		// The daemons detach themselves and must not keep a pipe of ours open.
		cmd := exec.CommandContext(ctx, filepath.Join(place.XenBin, c[0]), c[1:]...)
		out, err := os.CreateTemp("/tmp", c[0])
		if err != nil {
			cancel()
			return fmt.Errorf("start %s: %w", c[0], err)
		}
		cmd.Stdout, cmd.Stderr = out, out
		err = cmd.Run()
		cancel()
		if err != nil {
			text, _ := os.ReadFile(out.Name())
			return fmt.Errorf("start %s: %w: %s", c[0], err, strings.TrimSpace(string(text)))
		}
		out.Close()
	}
	return nil
}

// consoles is where xenconsoled keeps the guests' consoles.
const consoles = dom0.Consoles

func mount(fs, dir, opts string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	// The kernel may have mounted devtmpfs before us.
	if err := unix.Mount(fs, dir, fs, 0, opts); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount %s on %s: %w", fs, dir, err)
	}
	return nil
}

// ramDisk makes one RAM disk of 96 MiB. It takes memory as it is written.
const ramDisk = "rd_nr=1 rd_size=98304"

func loadModules(dir string) error {
	mods, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return fmt.Errorf("load kernel modules: %w", err)
	}
	for _, m := range mods {
		f, err := os.Open(filepath.Join(dir, m.Name()))
		if err != nil {
			return fmt.Errorf("load kernel modules: %w", err)
		}
		params := ""
		if strings.HasSuffix(m.Name(), "-brd.ko") {
			params = ramDisk
		}
		err = unix.FinitModule(int(f.Fd()), params, 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load kernel module %s: %w", m.Name(), err)
		}
	}
	return nil
}

// openPort opens the serial port for bytes as they are.
func openPort(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("open the job port: %w", err)
	}
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err == nil {
		// cfmakeraw(3), 115200 baud, and no modem control lines.
		t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
		t.Oflag &^= unix.OPOST
		t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		t.Cflag &^= unix.CSIZE | unix.PARENB | unix.CBAUD | unix.CRTSCTS
		t.Cflag |= unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200
		t.Ispeed, t.Ospeed = unix.B115200, unix.B115200
		t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
		err = unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("set up the job port %s: %w", path, err)
	}
	return f, nil
}
