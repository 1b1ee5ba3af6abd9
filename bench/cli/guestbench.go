package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hangbench/bench/agent"
	"hangbench/bench/dom0"
	"hangbench/bench/dom0cmd"
	"hangbench/bench/exit"
	"hangbench/bench/labhost"
	"hangbench/bench/xenhost"
	"hangbench/guests/lab/place"
	"hangbench/scenarios/suites"
)

// guestBench is what the measurements on one guest have in common: they run in
// a dom0, be it this machine or that of a lab, which runs the same program.
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
	f.StringVar(&g.host, "host", "lab",
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
	g.lab.addLibVMI(c) // for the driver xenctrl beside the other, in one lab
	completeFlag(c, "host", choices(hostKinds...))
	completeFlag(c, "mechanism", lists(known...))
	completeFlag(c, "driver", choices(dom0.Drivers()...))
	completeFlag(c, "guests", folders)
}

// hostKinds are the kinds of host.
var hostKinds = []string{"lab", "xen"}

// checkDomain checks the flags --host and --domain of what is done on one guest.
func checkDomain(host, domain string) error {
	switch {
	case !slices.Contains(hostKinds, host):
		return exit.Usagef("--host %s: there are %s", host, strings.Join(hostKinds, " and "))
	case host == "xen" && domain == "":
		return exit.Usagef("--host xen needs --domain: the name of a guest that hangbench made and that is up")
	case host == "lab" && domain != "":
		return exit.Usagef("--domain is for --host xen: in the lab a guest is made")
	}
	return nil
}

// needsLibVMI reports whether one of the drivers is LibVMI's.
func needsLibVMI(drivers ...string) bool { return slices.Contains(drivers, "libvmi") }

// guest is the guest to make in the lab.
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
	case g.host == "xen" && g.superpages:
		return exit.Usagef("--superpages is for the lab: a guest that is up has them or has not")
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

// openXen opens this dom0.
func (g *guestBench) openXen() (*xenhost.Host, error) {
	x, err := xenhost.Open(g.guests)
	if errors.Is(err, xenhost.ErrNoGuests) {
		return nil, exit.UsageError{Err: err}
	}
	if err == nil {
		x.SetDriver(g.driver)
	}
	return x, err
}

// measureIn runs "hangbench bench ..." in the dom0 of a lab and returns the report
// that it prints.
func measureIn[Report any](m *labhost.Machine, args ...string) (*Report, error) {
	out, err := m.Exec(append([]string{place.Agent, "bench", args[0], "--host", "xen", "--domain", agent.GuestName, "--json"}, args[1:]...))
	if err != nil {
		return nil, err
	}
	// Output and errors come together; the report begins with the first brace.
	if i := strings.IndexByte(out.Text, '{'); i >= 0 && (out.Status == exit.Done || out.Status == exit.Failed) {
		var r Report
		if err := json.NewDecoder(strings.NewReader(out.Text[i:])).Decode(&r); err != nil {
			return nil, fmt.Errorf("read what dom0 measured: %w", err)
		}
		return &r, nil
	}
	return nil, fmt.Errorf("it ended with status %d in dom0: %s", out.Status, strings.TrimSpace(out.Text))
}
