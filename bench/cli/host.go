package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hangbench/bench/dom0"
	"hangbench/bench/exit"
	"hangbench/bench/labhost"
	"hangbench/bench/run"
	"hangbench/bench/xenhost"
	"hangbench/guests/lab"
	"hangbench/guests/lab/debian"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// hostFlags say where trials run.
type hostFlags struct {
	kind   string
	guests string
	jobs   int
	lab    labFlags
}

func (h *hostFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&h.kind, "host", results.Lab, "where trials run: `KIND` is lab (emulated) or xen (this machine is dom0)")
	f.IntVar(&h.jobs, "jobs", 0, "trials at a time (default: one for each CPU in the lab, 1 on xen)")
	f.StringVar(&h.guests, "guests", "", "`folder` of guest kernels, for --host xen")
	h.lab.add(c)
	h.lab.addXen(c)
	completeFlag(c, "host", choices(hostKinds...))
	completeFlag(c, "guests", folders)
}

// labVersion names the lab's key among the versions of a run's manifest. The key of
// a variant has the variant's name after it, with a dash.
const labVersion = "lab"

// xenVersion names the version of the lab's Xen among them. Another release of Xen, which
// guests asked for, has its name after it, with a dash.
const xenVersion = "xen"

// opened is a host that is ready to run trials.
type opened struct {
	run.Host
	info     results.HostInfo
	versions map[string]string
	// prepare makes the snapshots that the trials need. It can take minutes.
	prepare func(context.Context) error
	bench   func() map[string]float64
	close   func() error
}

// check checks the flags and fills in the number of jobs if the user has not given it.
func (h *hostFlags) check(given *pflag.FlagSet) error {
	switch {
	case !slices.Contains(hostKinds, h.kind):
		return exit.Usagef("--host %q: there are %s", h.kind, strings.Join(hostKinds, " and "))
	case h.jobs < 0 || h.jobs > 64 || h.jobs == 0 && given.Changed("jobs"):
		return exit.Usagef("--jobs %d: want 1 to 64", h.jobs)
	case h.kind == results.Xen && h.lab.xenFlag() != "":
		return exit.Usagef("%s: it chooses the lab's Xen, and --host xen has its own", h.lab.xenFlag())
	case h.kind == results.Xen && h.jobs > 1:
		return exit.Usagef("--jobs %d: a real Xen host runs one trial at a time, because its trace buffers are shared",
			h.jobs)
	}
	if h.jobs == 0 {
		h.jobs = 1
		if h.kind == results.Lab {
			h.jobs = runtime.NumCPU()
		}
	}
	return nil
}

// open opens the host on which the suite's trials can run.
func (h *hostFlags) open(ctx context.Context, a *app, s *suites.Suite) (*opened, error) {
	if h.kind == results.Xen {
		if len(s.KernelFiles) > 0 {
			return nil, exit.Usagef("a kernel that is a file is for the lab: " +
				"on a real Xen host, put it into the folder --guests")
		}
		return h.openXen(s)
	}
	asks := func(g suites.Guest) bool { return g.XenRelease != "" }
	if i := slices.IndexFunc(s.Guests, asks); i >= 0 && h.lab.xenFlag() != "" {
		return nil, exit.Usagef("%s: guests of the suite ask for Xen %s: remove that flag, or xen: from the suite",
			h.lab.xenFlag(), s.Guests[i].XenRelease)
	}
	h.lab.kernels = s.KernelFiles
	h.lab.libvmi = needsLibVMI(s.Drivers...)
	l, err := h.lab.build(ctx, a, lab.Variant{})
	if err != nil {
		return nil, err
	}
	host, err := h.lab.hostOf(ctx, a, l)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	versions, err := labVersions(ctx, host, s.Guests)
	if err != nil {
		return nil, errors.Join(err, host.Close(), l.Close())
	}
	m := l.Manifest
	var xens []string // of the guests
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		if name == xenVersion || strings.HasPrefix(name, xenVersion+"-") {
			xens = append(xens, versions[name])
		}
	}
	return &opened{
		Host: host,
		info: results.HostInfo{Kind: results.Lab, Description: fmt.Sprintf(
			"emulated: Bochs %s, %d CPU of %d MIPS (virtual time), %d MiB, Xen %s, dom0 Linux %s",
			m.Version("bochs"), m.Machine.CPUs, m.Machine.IPS/1_000_000, m.Machine.MemoryMiB, strings.Join(xens, " and "),
			m.Dom0)},
		versions: versions,
		prepare: func(ctx context.Context) error {
			for _, g := range s.Guests {
				if _, err := host.Guest(ctx, g); err != nil {
					return err
				}
			}
			return nil
		},
		bench: func() map[string]float64 { return figures(host.Times()) },
		close: func() error { return errors.Join(host.Close(), l.Close()) },
	}, nil
}

// openXen opens this machine as the host.
func (h *hostFlags) openXen(s *suites.Suite) (*opened, error) {
	x, err := xenhost.Open(dom0.Config{Guests: h.guests})
	if errors.Is(err, xenhost.ErrNoGuests) {
		return nil, exit.UsageError{Err: err}
	}
	if err != nil {
		return nil, err
	}
	info, versions, err := x.Info()
	if err != nil {
		return nil, errors.Join(err, x.Close())
	}
	for _, g := range s.Guests {
		if err := x.CheckGuest(g); err != nil {
			return nil, exit.MissingError{Err: errors.Join(err, x.Close())}
		}
	}
	return &opened{
		Host: x, info: info, versions: versions, close: x.Close,
		prepare: func(context.Context) error { return nil },
		bench:   func() map[string]float64 { return nil },
	}, nil
}

// labVersions returns the versions of everything in the labs that such guests
// need, by name.
func labVersions(ctx context.Context, host *labhost.Host, guests []suites.Guest) (map[string]string, error) {
	m := host.Lab.Manifest
	versions := map[string]string{labVersion: m.Key(), "dom0-kernel": m.Dom0}
	for what, pkg := range map[string]string{"bochs": "bochs", "seabios": "bochsbios"} {
		versions[what] = m.Version(pkg)
	}
	if m.LibVMI != "" {
		versions["libvmi"] = m.LibVMI
	}
	for name, release := range m.Guests {
		versions["guest-"+name] = release
	}
	variants, err := host.Manifests(ctx, guests)
	if err != nil {
		return nil, err
	}
	for variant, m := range variants {
		xen := xenVersion
		if m.Xen != host.Lab.Manifest.Xen {
			xen += "-" + m.Xen
		}
		versions[xen] = m.XenVersion()
		if variant == "" {
			continue
		}
		versions[labVersion+"-"+variant] = m.Key()
		for name, release := range m.Guests {
			versions["guest-"+name] = release
		}
		for name, sum := range m.KernelFiles {
			versions["guest-"+name+"-sha256"] = sum
		}
		// A set of programs has the name of its package.
		for _, pkg := range append(lab.GuestPrograms(), debian.QEMUPackage) {
			if v := m.Version(pkg); v != "" {
				versions[pkg] = v
			}
		}
	}
	return versions, nil
}
