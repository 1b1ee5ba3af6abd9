package dom0

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"hangbench/guests/disk"
	"hangbench/guests/lab/place"
	"hangbench/guests/xl"
	"hangbench/scenarios/suites"
)

// Command lines of guest kernels. The self-tests of the kernel's cryptography have
// no part in hangs and take seconds of the emulator.
const (
	distroArgs = "console=hvc0 quiet cryptomgr.notests"
	plainArgs  = distroArgs + " nokaslr mitigations=off"
	// noThreads hides the processor's flag HTT (cpufeatures.h: bit 28 of the first word).
	noThreads = " clearcpuid=28"
)

// moreArgs returns what else the command line of a kernel of that release needs. With
// the flag HTT, Linux 5.10 takes a second vCPU of the lab for a thread of the first, and
// takes it off again while it boots. Linux 6.1 does not. Those between were not tried.
func moreArgs(release string) string {
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n == 2 && (major < 6 || major == 6 && minor < 1) {
		return noThreads
	}
	return ""
}

// NewGuest makes a guest and waits until its heartbeat runs. With suites.Distro its
// kernel boots as a distribution boots it: moved in memory, and with all mitigations
// that it chooses itself. The guest's neighbours are made too.
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
	image, args := filepath.Join(dir, place.Kernel), plainArgs
	if spec.Boot == suites.Distro {
		h.Log.Info("move guest kernel")
		if image, err = h.moveKernel(dir, spec); err != nil {
			return nil, fmt.Errorf("move guest kernel %s: %w", spec.Kernel, err)
		}
		defer os.Remove(image) // Xen has read it once the guest runs
		args = distroArgs
	}
	h.Log.Info("create guest")
	var path string
	if g.disk, err = disk.Make(name); err == nil {
		path = g.disk.Path
	} else if !errors.Is(err, disk.ErrNone) {
		return nil, err
	}
	g.Domid, err = h.tools.Create(ctx, xl.Config{
		Name: name, VCPUs: spec.VCPUs, MemoryMiB: spec.MemoryMiB,
		Kernel: image, Ramdisk: filepath.Join(h.Guests, place.Ramdisk(spec.Programs)),
		Cmdline: args + moreArgs(g.profile.Release),
		Altp2m:  xl.Altp2mExternal,
		Disk:    path,
	})
	if err != nil {
		return nil, errors.Join(err, g.closeDisk(context.WithoutCancel(ctx)))
	}
	h.Log.Info("boot guest")
	if err := g.openAnnounced(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("guest %s: %w", name, err), g.Destroy(context.WithoutCancel(ctx)))
	}
	return g, nil
}
