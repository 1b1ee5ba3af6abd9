package xl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrNoXL reports that there is no xl program: this is not a Xen dom0.
var ErrNoXL = errors.New("no xl program found: install xen-utils and boot into Xen")

// Toolstack runs xl.
type Toolstack struct {
	// Path is the path of the xl program. Empty means "xl" from the search path.
	Path string
	// Dir is the folder of guests' configurations while the guests are created.
	Dir string
}

// xl runs xl and returns its standard output. The error has the end of its standard
// error.
func (t Toolstack) xl(ctx context.Context, args ...string) (string, error) {
	path := t.Path
	if path == "" {
		path = "xl"
	}
	cmd := exec.CommandContext(ctx, path, args...)
	var out, errb bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errb
	if err := cmd.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			return "", ErrNoXL
		}
		msg := strings.TrimSpace(errb.String())
		if len(msg) > 600 {
			msg = "..." + msg[len(msg)-600:]
		}
		return "", fmt.Errorf("xl %s: %w: %s", strings.Join(args, " "), err, msg)
	}
	return out.String(), nil
}

// Create makes the guest and returns its domain id. If ctx ends first or xl fails, the
// unfinished guest is destroyed.
func (t Toolstack) Create(ctx context.Context, c Config) (domid int, err error) {
	return t.build(ctx, c, "create")
}

// Restore makes a guest of the file to which Save has saved one, with the configuration in
// place of the one that was saved. Otherwise it is as Create.
func (t Toolstack) Restore(ctx context.Context, c Config, file string) (domid int, err error) {
	return t.build(ctx, c, "restore", file)
}

// build runs the command with the configuration, which makes a guest.
func (t Toolstack) build(ctx context.Context, c Config, command string, args ...string) (domid int, err error) {
	text, err := c.Render()
	if err != nil {
		return 0, err
	}
	path := filepath.Join(t.Dir, c.Name+".cfg")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return 0, fmt.Errorf("write the configuration of guest %s: %w", c.Name, err)
	}
	defer os.Remove(path)
	if _, err := t.xl(ctx, append([]string{command, path}, args...)...); err != nil {
		if !errors.Is(err, ErrNoXL) {
			// Without ctx, whose end may be the reason of the failure.
			t.xl(context.WithoutCancel(ctx), "destroy", c.Name)
		}
		return 0, fmt.Errorf("%s guest %s: %w", command, c.Name, err)
	}
	return t.Find(ctx, c.Name)
}

// Find returns the domain id of a guest by its name.
func (t Toolstack) Find(ctx context.Context, name string) (domid int, err error) {
	out, err := t.xl(ctx, "domid", name)
	if err != nil {
		return 0, fmt.Errorf("find guest %s: %w", name, err)
	}
	if domid, err = parseDomid(out); err != nil {
		return 0, fmt.Errorf("find guest %s: %w", name, err)
	}
	return domid, nil
}

// maxDomid is the largest id of a domain: DOMID_FIRST_RESERVED of Xen's public header
// xen.h, less one.
const maxDomid = 0x7ff0 - 1

// parseDomid parses the output of xl domid: the id of a guest, on a line.
func parseDomid(out string) (int, error) {
	text := strings.TrimSuffix(out, "\n")
	id, err := strconv.Atoi(text)
	if err != nil || id < 1 || id > maxDomid || strconv.Itoa(id) != text {
		return 0, fmt.Errorf("xl domid printed %.80q, which is no id of a guest", out)
	}
	return id, nil
}

// Destroy ends the guest at once and frees its memory.
func (t Toolstack) Destroy(ctx context.Context, domid int) error {
	if domid <= 0 {
		return fmt.Errorf("destroy domain %d: that is dom0", domid)
	}
	_, err := t.xl(ctx, "destroy", strconv.Itoa(domid))
	return err
}

// Cap limits the time of physical CPUs that the guest's vCPUs together may use, in percent
// of one CPU. 0 is no limit. Only the scheduler credit2 knows it here, which is Xen's default.
func (t Toolstack) Cap(ctx context.Context, domid, percent int) error {
	if domid <= 0 || percent < 0 {
		return fmt.Errorf("limit domain %d to %d%% of a CPU: there is no such guest or limit", domid, percent)
	}
	return t.limit(ctx, domid, percent)
}

// CapControl limits dom0 as Cap does a guest.
func (t Toolstack) CapControl(ctx context.Context, percent int) error {
	if percent < 0 {
		return fmt.Errorf("limit dom0 to %d%% of a CPU: there is no such limit", percent)
	}
	return t.limit(ctx, 0, percent)
}

func (t Toolstack) limit(ctx context.Context, domid, percent int) error {
	_, err := t.xl(ctx, "sched-credit2", "-d", strconv.Itoa(domid), "-c", strconv.Itoa(percent))
	return err
}

// ofGuest runs an xl command on a guest. It refuses dom0.
func (t Toolstack) ofGuest(ctx context.Context, domid int, command string, args ...string) error {
	if domid <= 0 {
		return fmt.Errorf("xl %s: domain %d is no guest", command, domid)
	}
	_, err := t.xl(ctx, append([]string{command}, args...)...)
	return err
}

// SetVCPUs asks the guest to use n of its vCPUs, 1 at least. They may be more than the host
// has CPUs.
func (t Toolstack) SetVCPUs(ctx context.Context, domid, n int) error {
	return t.ofGuest(ctx, domid, "vcpu-set", "-i", strconv.Itoa(domid), strconv.Itoa(n))
}

// SetMemory asks the guest to use so many MiB of its memory.
func (t Toolstack) SetMemory(ctx context.Context, domid, mib int) error {
	return t.ofGuest(ctx, domid, "mem-set", strconv.Itoa(domid), strconv.Itoa(mib)+"m")
}

// Save saves the guest to a file and destroys it.
func (t Toolstack) Save(ctx context.Context, domid int, file string) error {
	return t.ofGuest(ctx, domid, "save", strconv.Itoa(domid), file)
}

// Checkpoint saves the guest to a file and lets it go on.
func (t Toolstack) Checkpoint(ctx context.Context, domid int, file string) error {
	return t.ofGuest(ctx, domid, "save", "-c", strconv.Itoa(domid), file)
}

// PowerOff asks the guest to power off.
func (t Toolstack) PowerOff(ctx context.Context, domid int) error {
	return t.ofGuest(ctx, domid, "shutdown", strconv.Itoa(domid))
}

// Reboot asks the guest to reboot.
func (t Toolstack) Reboot(ctx context.Context, domid int) error {
	return t.ofGuest(ctx, domid, "reboot", strconv.Itoa(domid))
}

// NMI sends a non-maskable interrupt to a vCPU of the guest. It wakes a vCPU that is
// halted or polls.
func (t Toolstack) NMI(ctx context.Context, domid, vcpu int) error {
	if domid <= 0 || vcpu < 0 {
		return fmt.Errorf("interrupt vCPU %d of domain %d: there is no such vCPU of a guest", vcpu, domid)
	}
	_, err := t.xl(ctx, "trigger", strconv.Itoa(domid), "nmi", strconv.Itoa(vcpu))
	return err
}
