package dom0

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"hangbench/guests/disk"
	"hangbench/guests/kernel"
	"hangbench/guests/lab/place"
	"hangbench/guests/xl"
	"hangbench/scenarios/suites"
)

// NewGuest makes a guest and waits until its heartbeat runs. With suites.Distro its
// kernel boots as a distribution boots it: moved in memory, and with all mitigations
// that it chooses itself. With suites.HVM it boots from a disc, as a computer with a BIOS
// does. The guest's neighbours are made too.
func (h *Host) NewGuest(ctx context.Context, name string, spec suites.Guest) (*Guest, error) {
	g, err := h.newGuest(ctx, name, spec)
	if err != nil {
		return nil, err
	}
	for i := range spec.Neighbours {
		n, err := h.newGuest(ctx, fmt.Sprintf("%s-beside-%d", name, i+1), spec)
		if err != nil {
			return nil, errors.Join(err, g.Destroy(context.WithoutCancel(ctx)))
		}
		g.neighbours = append(g.neighbours, n)
	}
	return g, nil
}

// newGuest makes one guest.
func (h *Host) newGuest(ctx context.Context, name string, spec suites.Guest) (_ *Guest, err error) {
	if err := h.CheckGuest(spec); err != nil {
		return nil, err
	}
	dir := filepath.Join(h.Guests, spec.Kernel)
	g := &Guest{Spec: spec, name: name, host: h}
	if g.profile, err = readProfile(dir); err != nil {
		return nil, err
	}
	c := xl.Config{Name: name, VCPUs: spec.VCPUs, MemoryMiB: spec.MemoryMiB, Altp2m: xl.Altp2mExternal}
	if spec.Type == suites.HVM {
		c.Disc = filepath.Join(dir, place.Disc(spec.Programs))
	} else {
		distro := spec.Boot == suites.Distro
		c.Kernel, c.Cmdline = filepath.Join(dir, place.Kernel), kernel.Arguments(g.profile.Release, distro)
		c.Ramdisk = filepath.Join(h.Guests, place.Ramdisk(spec.Programs))
		if distro {
			h.Log.Info("move guest kernel")
			if c.Kernel, err = h.moveKernel(dir, spec); err != nil {
				return nil, fmt.Errorf("move guest kernel %s: %w", spec.Kernel, err)
			}
			defer os.Remove(c.Kernel) // Xen has read it once the guest runs
		}
	}
	h.Log.Info("create guest")
	if g.disk, err = disk.Make(name); err == nil {
		c.Disk = g.disk.Path
	} else if !errors.Is(err, disk.ErrNone) {
		return nil, err
	}
	g.config = c
	if g.Domid, err = h.tools.Create(ctx, c); err != nil {
		return nil, errors.Join(err, g.closeDisk(context.WithoutCancel(ctx)))
	}
	h.Log.Info("boot guest")
	if err := g.openAnnounced(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("guest %s: %w", name, err), g.Destroy(context.WithoutCancel(ctx)))
	}
	return g, nil
}
