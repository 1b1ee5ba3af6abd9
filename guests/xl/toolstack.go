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
	text, err := c.Render()
	if err != nil {
		return 0, err
	}
	path := filepath.Join(t.Dir, c.Name+".cfg")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return 0, fmt.Errorf("write the configuration of guest %s: %w", c.Name, err)
	}
	defer os.Remove(path)
	if _, err := t.xl(ctx, "create", path); err != nil {
		if !errors.Is(err, ErrNoXL) {
			// Without ctx, whose end may be the reason of the failure.
			t.xl(context.WithoutCancel(ctx), "destroy", c.Name)
		}
		return 0, fmt.Errorf("create guest %s: %w", c.Name, err)
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
	_, err := t.xl(ctx, "sched-credit2", "-d", strconv.Itoa(domid), "-c", strconv.Itoa(percent))
	return err
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
