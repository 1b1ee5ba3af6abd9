package dom0

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	xc "hangbench/cgo/xenctrl"
	"hangbench/scenarios/inject"
)

// These methods make the guest an inject.Toolstack.

// saveTime bounds a call of xl that saves or restores a guest, on dom0's clock.
const saveTime = 5 * time.Minute

// Cap limits the guest to so many percent of one physical CPU. 0 ends this.
func (g *Guest) Cap(ctx context.Context, percent int) error {
	ctx, cancel := context.WithTimeout(ctx, triggerTime)
	defer cancel()
	return g.host.tools.Cap(ctx, g.Domid, percent)
}

// SetVCPUs asks the guest to use so many of its vCPUs. 0 stands for all of them.
func (g *Guest) SetVCPUs(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, triggerTime)
	defer cancel()
	if n == 0 {
		n = g.driver.VCPUs()
	}
	return g.host.tools.SetVCPUs(ctx, g.Domid, n)
}

// SetMemory asks the guest to use so many MiB. 0 stands for what it was made with.
func (g *Guest) SetMemory(ctx context.Context, mib int) error {
	ctx, cancel := context.WithTimeout(ctx, triggerTime)
	defer cancel()
	if mib == 0 {
		mib = g.Spec.MemoryMiB
	}
	return g.host.tools.SetMemory(ctx, g.Domid, mib)
}

// Resources returns the guest's vCPUs and memory as Xen counts them.
func (g *Guest) Resources() (inject.Resources, error) {
	info, err := g.host.Xen.Domain(xc.DomID(g.Domid)).Info()
	return inject.Resources{VCPUs: info.VCPUs, Memory: info.Pages * xc.PageSize}, err
}

// Checkpoint saves the guest, which goes on. Nobody needs what was saved.
func (g *Guest) Checkpoint(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, saveTime)
	defer cancel()
	return g.host.tools.Checkpoint(ctx, g.Domid, os.DevNull)
}

// Save saves the guest to a file in the folder of temporary files, and destroys its domain.
// What is mapped of the domain stays mapped until the guest is closed.
func (g *Guest) Save(ctx context.Context) error {
	if g.saved != "" {
		return errors.New("save the guest: it is saved already")
	}
	ctx, cancel := context.WithTimeout(ctx, saveTime)
	defer cancel()
	file := filepath.Join(g.host.Work, g.name+".save")
	if err := g.host.tools.Save(ctx, g.Domid, file); err != nil {
		os.Remove(file)
		return err
	}
	g.saved = file
	return nil
}

// Restore makes a domain of the guest that was saved, and opens it. Monitors of the former
// domain may still be attached.
func (g *Guest) Restore(ctx context.Context, later time.Duration) error {
	if g.saved == "" {
		return errors.New("restore the guest: it is not saved")
	}
	short, cancel := context.WithTimeout(ctx, saveTime)
	defer cancel()
	c := g.config
	c.TimeOffset = int(later / time.Second)
	domid, err := g.host.tools.Restore(short, c, g.saved)
	if err != nil {
		return err
	}
	err = os.Remove(g.saved)
	g.former = append(g.former, g.Heartbeat, g.driver)
	if g.libvmi != nil {
		g.former = append(g.former, g.libvmi.Driver)
	}
	through := xenctrl
	if g.libvmi != nil && g.watched == *g.libvmi {
		through = libvmi
	}
	g.saved, g.Domid, g.Heartbeat, g.driver, g.libvmi = "", domid, nil, nil, nil
	// The guest announces itself once, at its start.
	if oerr := g.openAs(g.announced); oerr != nil {
		return errors.Join(err, fmt.Errorf("open the restored guest: %w", oerr))
	}
	return errors.Join(err, g.Use(through))
}

// End asks the guest to end itself. Xen keeps its domain.
func (g *Guest) End(ctx context.Context, how inject.Ending) error {
	ctx, cancel := context.WithTimeout(ctx, triggerTime)
	defer cancel()
	switch how {
	case inject.PowerOff:
		return g.host.tools.PowerOff(ctx, g.Domid)
	case inject.Reboot:
		return g.host.tools.Reboot(ctx, g.Domid)
	}
	return fmt.Errorf("a guest cannot be asked for %q", how)
}

// Ended returns how the guest has ended itself, or "".
func (g *Guest) Ended() (string, error) {
	st, err := g.driver.State(nil)
	return st.Shutdown, err
}
