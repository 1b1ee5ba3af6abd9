package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"hangbench/bench/dom0"
	"hangbench/bench/dom0cmd"
	"hangbench/bench/labhost"
	"hangbench/guests/lab"
	"hangbench/guests/lab/place"
	"hangbench/monitor/trap"
	"hangbench/scenarios/suites"
)

// killSummary is a mechanism's row of "bench kill".
type killSummary struct {
	Mechanism string `json:"mechanism"`
	Kills     int    `json:"kills"`
	OK        int    `json:"ok"`
	// How often something was left behind by the monitor, and put right.
	RingOn     int `json:"ring_on"`
	Altp2mOn   int `json:"altp2m_on"`
	Restricted int `json:"frames_restricted"`
	Patched    int `json:"bytes_patched"`
	Added      int `json:"frames_added"`
	Paused     int `json:"paused"`
}

// summarize adds up the kills of one mechanism. planned is how many there should
// have been: one that never came to be is not OK.
func summarize(mechanism string, planned int, kills []dom0.Killed) killSummary {
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
	Schema int           `json:"schema"`
	Driver string        `json:"driver"`
	Rows   []killSummary `json:"rows"`
	Kills  []dom0.Killed `json:"kills"`
}

// killMechanisms parses the list of mechanisms; empty means all.
func killMechanisms(list string) ([]trap.Mechanism, error) {
	if list == "" {
		return trap.Mechanisms(), nil
	}
	var all []trap.Mechanism
	for name := range strings.SplitSeq(list, ",") {
		m, err := trap.Find(name)
		if err != nil {
			return nil, usagef("--mechanisms: %w", err)
		}
		all = append(all, m)
	}
	return all, nil
}

func benchKill(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "bench kill", "", "Kill monitors with SIGKILL at random instants, recover the guest each time, and look whether it is as it was and goes on: for each mechanism, in the lab, on a busy guest. Exit status 1 if one was not recovered.")
	var lf labFlags
	lf.add(f)
	lf.addLibVMI(f)
	list := f.String("mechanisms", "", "`names` of mechanisms, separated by commas (default: all)")
	seeds := f.Int("seeds", 20, "`number` of kills of each mechanism, 1 to 100")
	signal := f.String("signal", "KILL", "`name` of the signal: KILL, or TERM or INT, after which there must be nothing to recover")
	vcpus := f.Int("vcpus", 1, "vCPUs of the guest, 1 to 8")
	var driver string
	dom0cmd.AddDriver(f, &driver)
	asJSON := f.Bool("json", false, "print JSON")
	inside := f.String("inside", "", "`DOMAIN` of this Xen host to do it on, instead of the lab")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	mechs, err := killMechanisms(*list)
	if err != nil {
		return err
	}
	if *seeds < 1 || *seeds > 100 {
		return usagef("--seeds %d: want 1 to 100", *seeds)
	}
	if *vcpus < 1 || *vcpus > 8 {
		return usagef("--vcpus %d: want 1 to 8", *vcpus)
	}
	if _, ok := dom0.Signals()[*signal]; !ok {
		return usagef("--signal %s: there are KILL, TERM and INT", *signal)
	}
	if err := dom0cmd.CheckDriver(driver); err != nil {
		return err
	}
	lf.libvmi = lf.libvmi || needsLibVMI(driver)
	kg := killing{signal: *signal, seeds: *seeds, driver: driver}
	rep := killReport{Schema: 1, Driver: driver}
	if *inside != "" {
		if rep.Kills, err = kg.inside(ctx, *inside, mechs); err != nil {
			return err
		}
	} else {
		p := newProgress(env, 0)
		h, err := lf.host(ctx, env, p)
		if err == nil {
			rep.Kills, err = kg.inLab(ctx, h, suites.Guest{Kernel: lab.GuestKernels()[0], VCPUs: *vcpus, MemoryMiB: 160}, mechs, p.step)
		}
		p.end()
		if err != nil {
			return err
		}
	}
	for _, m := range mechs {
		var of []dom0.Killed
		for _, k := range rep.Kills {
			if k.Mechanism == m.Name {
				of = append(of, k)
			}
		}
		rep.Rows = append(rep.Rows, summarize(m.Name, *seeds, of))
	}
	if *asJSON {
		e := json.NewEncoder(env.Stdout)
		if *inside == "" {
			e.SetIndent("", "  ")
		}
		err = e.Encode(rep)
	} else {
		err = printKills(env.Stdout, rep)
	}
	if err != nil {
		return err
	}
	for _, r := range rep.Rows {
		if r.OK != r.Kills {
			return errFailed
		}
	}
	return nil
}

// killing says how monitors are killed.
type killing struct {
	signal, driver string
	seeds          int // kills of each mechanism
}

// inside kills monitors on a domain of this Xen host.
func (kg *killing) inside(ctx context.Context, domain string, mechs []trap.Mechanism) ([]dom0.Killed, error) {
	h, err := dom0cmd.Open("")
	if err != nil {
		return nil, err
	}
	defer h.Close()
	id, err := dom0cmd.Find(h, domain)
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var all []dom0.Killed
	for _, m := range mechs {
		kills, err := h.Kill(ctx, id, m, kg.signal, kg.seeds, []string{exe, "watch", domain, "--driver", kg.driver, "--mechanism", m.Name, "--json"})
		if err != nil {
			return nil, err
		}
		all = append(all, kills...)
	}
	return all, nil
}

// inLab does it in the lab, each mechanism in a machine of its own.
func (kg *killing) inLab(ctx context.Context, h *labhost.Host, g suites.Guest, mechs []trap.Mechanism, step func(string)) ([]dom0.Killed, error) {
	var all []dom0.Killed
	for _, m := range mechs {
		step("kill " + m.Name)
		kills, err := kg.oneInLab(ctx, h, g, m)
		if err != nil {
			return all, fmt.Errorf("kill %s: %w", m.Name, err)
		}
		all = append(all, kills...)
	}
	return all, nil
}

func (kg *killing) oneInLab(ctx context.Context, h *labhost.Host, g suites.Guest, m trap.Mechanism) ([]dom0.Killed, error) {
	machine, err := h.UpGuest(ctx, g)
	if err != nil {
		return nil, err
	}
	defer machine.Close()
	out, err := machine.Exec([]string{place.Agent, "bench", "kill", "--inside", "guest", "--mechanisms", m.Name, "--driver", kg.driver, "--signal", kg.signal, "--seeds", strconv.Itoa(kg.seeds), "--json"})
	if err != nil {
		return nil, err
	}
	var rep killReport
	if out.Status != ExitDone && out.Status != ExitFailed {
		return nil, fmt.Errorf("it ended with status %d in dom0: %s", out.Status, out.Text)
	}
	if err := json.Unmarshal([]byte(out.Text), &rep); err != nil {
		return nil, fmt.Errorf("what it said in dom0: %w: %.2000s", err, out.Text)
	}
	return rep.Kills, nil
}

// printKills prints the table, and each kill that was not recovered.
func printKills(w io.Writer, rep killReport) error {
	fmt.Fprintf(w, "driver %s\n%-18s %9s  %s\n%-18s %9s  %7s %9s %10s %8s %6s %7s\n", rep.Driver, "mechanism", "recovered", "left behind by the killed monitor, of the kills:",
		"", "", "ring on", "altp2m on", "restricted", "patched", "added", "paused")
	for _, r := range rep.Rows {
		fmt.Fprintf(w, "%-18s %9s  %7d %9d %10d %8d %6d %7d\n", r.Mechanism, fmt.Sprintf("%d of %d", r.OK, r.Kills), r.RingOn, r.Altp2mOn, r.Restricted, r.Patched, r.Added, r.Paused)
	}
	var err error
	for _, k := range rep.Kills {
		if !k.OK() {
			_, err = fmt.Fprintf(w, "not recovered: %s seed %d, killed %d us after attaching: %d beats, work %d, %+v; %s\n", k.Mechanism, k.Seed, k.AfterUS, k.Beats, k.Work, k.Recovered, k.Error)
		}
	}
	return err
}
