package cli

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hangbench/bench/dom0"
	"hangbench/bench/dom0cmd"
	"hangbench/bench/exit"
	"hangbench/bench/labhost"
	"hangbench/bench/xenhost"
	"hangbench/guests/lab/place"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// guestBench are the flags that all measurements on one guest have. The measurements
// run in a dom0: in that of this machine, or in that of a lab.
type guestBench struct {
	host, domain, guests string
	driver               string
	mechanisms           []string
	asJSON, superpages   bool
	memory               int
	lab                  labFlags
}

// add adds the flags; known are the mechanisms that can be measured.
func (g *guestBench) add(c *cobra.Command, known []string) {
	f := c.Flags()
	f.StringVar(&g.host, "host", results.Lab,
		"`KIND` is lab (emulated; a guest is made) or xen (this machine is dom0; name the guest with --domain)")
	f.StringVar(&g.domain, "domain", "", "`name` of a guest made by hangbench, for --host xen")
	f.StringVar(&g.guests, "guests", place.Guests, "`folder` of guest kernels, for --host xen")
	f.StringSliceVar(&g.mechanisms, "mechanism", known, "`names` of the mechanisms to measure")
	f.Lookup("mechanism").DefValue = "all" // the list is too long for help
	dom0cmd.AddDriver(f, &g.driver)
	f.IntVar(&g.memory, "memory", defaultGuest().MemoryMiB, "memory of the lab's guest in `MiB`, 128 to 512")
	f.BoolVar(&g.superpages, "superpages", false, "measure in the lab whose guests have superpages")
	f.BoolVar(&g.asJSON, "json", false, "print JSON")
	g.lab.add(c)
	g.lab.addXen(c)
	g.lab.addLibVMI(c) // for measurements with the driver xenctrl in the lab of the other
	completeFlag(c, "host", choices(hostKinds...))
	completeFlag(c, "mechanism", lists(known...))
	completeFlag(c, "driver", choices(dom0.Drivers()...))
	completeFlag(c, "guests", folders)
}

// hostKinds are the kinds of host.
var hostKinds = results.HostKinds()

// checkDomain checks the flags --host and --domain of a command that works on one
// guest.
func checkDomain(host, domain string) error {
	switch {
	case !slices.Contains(hostKinds, host):
		return exit.Usagef("--host %s: there are %s", host, strings.Join(hostKinds, " and "))
	case host == results.Xen && domain == "":
		return exit.Usagef("--host xen needs --domain: the name of a guest that hangbench made and that is up")
	case host == results.Lab && domain != "":
		return exit.Usagef("--domain is for --host xen: in the lab a guest is made")
	}
	return nil
}

// needsLibVMI reports whether one of the drivers is LibVMI's.
func needsLibVMI(drivers ...string) bool { return slices.Contains(drivers, "libvmi") }

// guest returns the guest to create in the lab.
func (g *guestBench) guest() suites.Guest {
	guest := defaultGuest()
	guest.MemoryMiB, guest.Superpages = g.memory, g.superpages
	return guest
}

func (g *guestBench) check(known []string) error {
	if err := dom0cmd.CheckDriver(g.driver); err != nil {
		return err
	}
	g.lab.libvmi = g.lab.libvmi || needsLibVMI(g.driver)
	if err := checkDomain(g.host, g.domain); err != nil {
		return err
	}
	switch {
	case g.host == results.Xen && g.superpages:
		return exit.Usagef("--superpages is for the lab: this host's guest has them or does not")
	case g.memory < 128 || g.memory > 512:
		return exit.Usagef("--memory %d: want 128 to 512", g.memory)
	case len(g.mechanisms) == 0:
		return exit.Usagef("--mechanism: name at least one")
	}
	for _, m := range g.mechanisms {
		if !slices.Contains(known, m) {
			return exit.Usagef("--mechanism %s: there are %s", m, strings.Join(known, ", "))
		}
	}
	return nil
}

// onThisHost measures on the guest of this Xen host that --domain names.
func (g *guestBench) onThisHost(ctx context.Context, measure func(*dom0.Guest) error) (err error) {
	x, err := xenhost.Open(dom0.Config{Guests: g.guests, Driver: g.driver})
	if errors.Is(err, xenhost.ErrNoGuests) {
		return exit.UsageError{Err: err}
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	guest, err := x.FindGuest(ctx, g.domain)
	if err != nil {
		return err
	}
	return errors.Join(measure(guest), guest.Close())
}

// inLab measures on a guest that it creates in a lab.
func (g *guestBench) inLab(
	ctx context.Context, a *app, guest suites.Guest, measure func(*labhost.Host, *labhost.Machine) error,
) (err error) {
	h, err := g.lab.host(ctx, a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Lab.Close()) }()
	m, err := h.UpGuest(ctx, guest)
	if err != nil {
		return err
	}
	return errors.Join(measure(h, m), m.Close())
}
