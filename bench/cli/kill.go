package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hangbench/bench/agent"
	"hangbench/bench/dom0"
	"hangbench/bench/dom0/recovery"
	"hangbench/bench/dom0cmd"
	"hangbench/bench/exit"
	"hangbench/bench/labhost"
	"hangbench/bench/oldflag"
	"hangbench/monitor/trap"
	"hangbench/results"
)

// killFlags are the flags of "bench kill".
type killFlags struct {
	host, domain string
	mechanisms   []string
	driver       string
	signal       string
	seeds        int // kills of each mechanism
	vcpus        int
	json         bool
	lab          labFlags
}

func (a *app) benchKill() *cobra.Command {
	c := a.command("kill", "kill monitors and see whether the guest is recovered",
		"Kill monitors with SIGKILL at random instants, recover the guest each time, and check that it is as it was and "+
			"goes on: for each mechanism, in the lab, on a busy guest. Exit status 1 if one was not recovered.", 0, 0)
	var k killFlags
	f := c.Flags()
	f.StringVar(&k.host, "host", results.Lab,
		"`KIND` is lab (emulated; a guest is made) or xen (this machine is dom0; name the guest with --domain)")
	f.StringVar(&k.domain, "domain", "", "`name` of a guest made by hangbench, for --host xen")
	oldflag.Add(f, "inside", "--host xen --domain", func(v string) error {
		k.host, k.domain = results.Xen, v
		return nil
	})
	f.StringSliceVar(&k.mechanisms, "mechanism", mechanisms(), "`names` of the mechanisms to kill monitors of")
	f.Lookup("mechanism").DefValue = "all" // the list is too long for help
	oldflag.Rename(f, "mechanisms", "mechanism")
	f.IntVar(&k.seeds, "seeds", 20, "`number` of kills of each mechanism, 1 to 100")
	f.StringVar(&k.signal, "signal", "KILL",
		"`name` of the signal: KILL, or TERM or INT, after which there must be nothing to recover")
	f.IntVar(&k.vcpus, "vcpus", 1, "vCPUs of the guest, 1 to 8")
	dom0cmd.AddDriver(f, &k.driver)
	f.BoolVar(&k.json, "json", false, "print JSON")
	k.lab.add(c)
	k.lab.addLibVMI(c)
	k.lab.addXen(c)
	completeFlag(c, "host", choices(hostKinds...))
	completeFlag(c, "mechanism", lists(mechanisms()...))
	completeFlag(c, "driver", choices(dom0.Drivers()...))
	completeFlag(c, "signal", choices("KILL", "TERM", "INT"))
	c.RunE = func(c *cobra.Command, _ []string) error { return k.run(c.Context(), a) }
	return c
}

// mechanisms returns the names of the mechanisms.
func mechanisms() []string {
	var names []string
	for _, m := range trap.Mechanisms() {
		names = append(names, m.Name)
	}
	return names
}

func (k *killFlags) check() error {
	if err := dom0cmd.CheckDriver(k.driver); err != nil {
		return err
	}
	for _, name := range k.mechanisms {
		if _, err := trap.Find(name); err != nil {
			return exit.Usagef("--mechanism: %w", err)
		}
	}
	_, known := recovery.Signals()[k.signal]
	switch {
	case len(k.mechanisms) == 0:
		return exit.Usagef("--mechanism: name at least one of %s", strings.Join(mechanisms(), ", "))
	case k.seeds < 1 || k.seeds > 100:
		return exit.Usagef("--seeds %d: want 1 to 100", k.seeds)
	case k.vcpus < 1 || k.vcpus > 8:
		return exit.Usagef("--vcpus %d: want 1 to 8", k.vcpus)
	case !known:
		return exit.Usagef("--signal %s: there are KILL, TERM and INT", k.signal)
	}
	return checkDomain(k.host, k.domain)
}

func (k *killFlags) run(ctx context.Context, a *app) error {
	if err := k.check(); err != nil {
		return err
	}
	kill := k.inLab
	if k.host == results.Xen {
		kill = k.onThisHost
	}
	kills, err := kill(ctx, a)
	if err != nil {
		return err
	}
	a.display.End()
	return k.show(a.out, kills)
}

// job returns the job of killing monitors of one mechanism.
func (k *killFlags) job(mechanism string) agent.KillJob {
	return agent.KillJob{
		KillJob: recovery.KillJob{Mechanism: mechanism, Signal: k.signal, Seeds: k.seeds}, Driver: k.driver,
	}
}

// onThisHost kills monitors of a domain of this Xen host.
func (k *killFlags) onThisHost(ctx context.Context, a *app) (_ []recovery.Killed, err error) {
	h, err := dom0cmd.Open("", k.driver)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	id, err := dom0cmd.Find(h, k.domain)
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program's file: %w", err)
	}
	var all []recovery.Killed
	for _, name := range k.mechanisms {
		watch := recovery.WatchCommand(exe, k.domain, k.driver, name)
		kills, err := h.Kill(ctx, id, k.job(name).KillJob, watch, a.log)
		if err != nil {
			return nil, err
		}
		all = append(all, kills...)
	}
	return all, nil
}

// inLab kills monitors in the lab, those of each mechanism in a machine of its own.
func (k *killFlags) inLab(ctx context.Context, a *app) (_ []recovery.Killed, err error) {
	k.lab.libvmi = k.lab.libvmi || needsLibVMI(k.driver)
	h, err := k.lab.host(ctx, a)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Lab.Close()) }()
	var all []recovery.Killed
	for _, name := range k.mechanisms {
		a.step("kill " + name)
		kills, err := k.oneInLab(ctx, h, name, a.log)
		if err != nil {
			return all, fmt.Errorf("kill %s: %w", name, err)
		}
		all = append(all, kills...)
	}
	return all, nil
}

func (k *killFlags) oneInLab(
	ctx context.Context, h *labhost.Host, mechanism string, log *slog.Logger,
) ([]recovery.Killed, error) {
	guest := defaultGuest()
	guest.VCPUs = k.vcpus
	machine, err := h.UpGuest(ctx, guest)
	if err != nil {
		return nil, err
	}
	kills, err := machine.Kill(k.job(mechanism), log)
	return kills, errors.Join(err, machine.Close())
}

// killSummary is a mechanism's row of "bench kill".
type killSummary struct {
	Mechanism string `json:"mechanism"`
	Kills     int    `json:"kills"` // planned
	OK        int    `json:"ok"`
	// The number of kills after which each of these had been left behind, and was
	// removed.
	RingOn     int `json:"ring_on"`
	Altp2mOn   int `json:"altp2m_on"`
	Restricted int `json:"frames_restricted"`
	Patched    int `json:"bytes_patched"`
	Added      int `json:"frames_added"`
	Paused     int `json:"paused"`
}

// summarize adds up the kills of one mechanism. planned is how many there should
// have been: a kill that never happened is not OK.
func summarize(mechanism string, planned int, kills []recovery.Killed) killSummary {
	s := killSummary{Mechanism: mechanism, Kills: planned}
	count := func(n *int, found bool) {
		if found {
			*n++
		}
	}
	for i := range kills {
		k := &kills[i]
		count(&s.OK, k.OK())
		count(&s.RingOn, k.Recovered.RingOn)
		count(&s.Altp2mOn, k.Recovered.Altp2mOn)
		count(&s.Restricted, k.Recovered.Restricted > 0)
		count(&s.Patched, k.Recovered.BytesPatched > 0)
		count(&s.Added, k.Recovered.FramesRemoved > 0)
		count(&s.Paused, k.Recovered.Pauses > 0)
	}
	return s
}

// killReport is what "bench kill --json" prints.
type killReport struct {
	Schema int               `json:"schema"`
	Driver string            `json:"driver"`
	Rows   []killSummary     `json:"rows"`
	Kills  []recovery.Killed `json:"kills"`
}

// show prints what came of the kills. It returns exit.ErrFailed if a guest was not
// recovered.
func (k *killFlags) show(w io.Writer, kills []recovery.Killed) error {
	r := killReport{Schema: 1, Driver: k.driver, Kills: kills}
	for _, name := range k.mechanisms {
		of := slices.DeleteFunc(slices.Clone(kills), func(one recovery.Killed) bool { return one.Mechanism != name })
		r.Rows = append(r.Rows, summarize(name, k.seeds, of))
	}
	if k.json {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		if err := e.Encode(r); err != nil {
			return err
		}
	} else {
		printKills(w, r)
	}
	for _, row := range r.Rows {
		if row.OK != row.Kills {
			return exit.ErrFailed
		}
	}
	return nil
}

// printKills prints the table, and each kill that was not recovered.
func printKills(w io.Writer, r killReport) {
	fmt.Fprintf(w, "driver %s\n%-18s %9s  %s\n", r.Driver, "mechanism", "recovered",
		"left behind by the killed monitor, of the kills:")
	fmt.Fprintf(w, "%-18s %9s  %7s %9s %10s %8s %6s %7s\n", "", "",
		"ring on", "altp2m on", "restricted", "patched", "added", "paused")
	for _, row := range r.Rows {
		fmt.Fprintf(w, "%-18s %9s  %7d %9d %10d %8d %6d %7d\n", row.Mechanism, fmt.Sprintf("%d of %d", row.OK, row.Kills),
			row.RingOn, row.Altp2mOn, row.Restricted, row.Patched, row.Added, row.Paused)
	}
	for _, k := range r.Kills {
		if !k.OK() {
			fmt.Fprintf(w, "not recovered: %s seed %d, killed %d us after attaching: %d beats, work %d, %+v; %s\n",
				k.Mechanism, k.Seed, k.AfterUS, k.Beats, k.Work, k.Recovered, k.Error)
		}
	}
}
