package labhost_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"hangbench/bench/agent"
	"hangbench/bench/dom0/recovery"
	"hangbench/bench/exit"
	"hangbench/bench/labhost"
	"hangbench/bench/price"
	"hangbench/bench/price/event"
	"hangbench/bench/price/misses"
	"hangbench/guests/lab/place"
	"hangbench/monitor"
	"hangbench/monitor/trap"
	"hangbench/results"
)

// output is what a program in dom0 has written, and its exit status.
type output struct {
	Stdout, Stderr string
	Status         int
}

// execute runs a program in dom0.
func execute(t *testing.T, m *labhost.Machine, argv ...string) (output, error) {
	t.Helper()
	var stdout, stderr strings.Builder
	status, err := m.Run(t.Context(), argv, &stdout, &stderr)
	return output{stdout.String(), stderr.String(), status}, err
}

// inDom0 runs a command of the dom0 program and checks its exit status and a part of
// its output, standard output and error together.
func inDom0(t *testing.T, m *labhost.Machine, status int, want string, args ...string) output {
	t.Helper()
	out, err := execute(t, m, append([]string{place.Agent}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	if out.Status != status || !strings.Contains(out.Stdout+out.Stderr, want) {
		t.Errorf("%v: status %d, want %d and %q:\n%s%s", args, out.Status, status, want, out.Stdout, out.Stderr)
	}
	return out
}

// TestDom0: programs run in dom0, and hangbench there finds a real Xen with altp2m.
func TestDom0(t *testing.T) {
	ctx, h := openLab(t, 10*time.Second)
	m := h.dom0(t, ctx)
	out := inDom0(t, m, exit.Done, "usable", "doctor")
	for _, want := range []string{"ok      dom0", "ok      Xen", "ok      altp2m", "built with the Xen libraries"} {
		if !strings.Contains(out.Stdout, want) {
			t.Errorf("doctor in dom0 does not say %q:\n%s", want, out.Stdout)
		}
	}
	if out, err := execute(t, m, "xl", "no-such-command"); err != nil || out.Status == 0 || out.Stderr == "" {
		t.Errorf("a failing program: %+v, %v", out, err)
	}
	if _, err := execute(t, m, "/no/such/program"); err == nil {
		t.Error("a program that is not there ran")
	}
	// The machine goes on after a job that failed.
	if out, err := execute(t, m, "xl", "info"); err != nil || !strings.Contains(out.Stdout, "xen_version") {
		t.Errorf("xl info: %+v, %v", out, err)
	}
}

// TestXenHost: the lab's dom0 is a Xen host like any other. A suite runs there as with
// --host xen, each trial with a guest made for it, and no guest stays behind. The short
// form takes a suite of two trials.
func TestXenHost(t *testing.T) {
	ctx, h := openLab(t, time.Minute)
	suite := "smoke"
	if all() {
		suite = "ci"
	}
	_, trials := suitePlan(t, suite)
	m := h.dom0(t, ctx)
	out := inDom0(t, m, exit.Done, "", "run", suite, "--host", "xen", "--guests", place.Guests, "--out", "/tmp/runs",
		"--json")
	n := 0
	for d := json.NewDecoder(strings.NewReader(out.Stdout)); d.More(); n++ {
		var tr results.Trial
		if err := d.Decode(&tr); err != nil {
			t.Fatal(err)
		}
		want := results.Clean
		if tr.Scenario == "spinlock-deadlock" {
			want = results.Detected
		}
		if tr.Outcome != want || tr.Host != "lab" || tr.Guest.BeatsAfter < 2 || tr.Trial != n {
			t.Errorf("%s: %s (%s), want %s; host %s, %d heartbeats after detaching",
				name(tr), tr.Outcome, tr.Reason, want, tr.Host, tr.Guest.BeatsAfter)
		}
	}
	if n != len(trials) {
		t.Errorf("%d records, want %d", n, len(trials))
	}
	if list, err := execute(t, m, "xl", "list"); err != nil || strings.Count(list.Stdout, "\n") != 2 {
		t.Errorf("guests are left behind: %s (%v)", list.Stdout, err)
	}
}

// TestKill: a monitor that is killed at a random instant leaves a guest that is
// recovered; one that is told to end leaves nothing to recover. The short form takes
// the mechanism that changes most in the guest; its fourth kill is one while attaching.
func TestKill(t *testing.T) {
	ctx, h := openLab(t, 70*time.Second)
	var mechanisms []string
	for _, m := range trap.Mechanisms() {
		mechanisms = append(mechanisms, m.Name)
	}
	if !all() {
		mechanisms = []string{"int3-altp2m"}
	}
	m := h.guest(t, ctx, guest(1))
	for _, mechanism := range mechanisms {
		for _, job := range []recovery.KillJob{{Signal: "KILL", Seeds: 4}, {Signal: "TERM", Seeds: 1},
			{Signal: "INT", Seeds: 1}} {
			if job.Signal == "INT" && !all() {
				continue
			}
			job.Mechanism = mechanism
			kills, err := m.Kill(agent.KillJob{KillJob: job, Driver: "xenctrl"}, discard)
			if err != nil {
				t.Fatalf("%+v: %v", job, err)
			}
			if len(kills) != job.Seeds {
				t.Fatalf("%+v: %d kills: %+v", job, len(kills), kills)
			}
			left := 0
			for _, k := range kills {
				if !k.OK() {
					t.Errorf("%+v: not recovered: %+v", job, k)
				}
				if k.Recovered.RingOn || k.Recovered.Altp2mOn || k.Recovered.FramesRemoved > 0 {
					left++
				}
			}
			if mechanism == "int3-altp2m" && job.Signal == "KILL" && left == 0 {
				t.Errorf("no killed monitor left anything behind: %+v", kills)
			}
		}
	}
}

// TestWatch: the monitor of a guest that is there says that it is attached and what it
// counted, and a guest in order is recovered without harm.
func TestWatch(t *testing.T) {
	ctx, h := openLab(t, 20*time.Second)
	m := h.guest(t, ctx, guest(1))
	out := inDom0(t, m, exit.Done, "", "watch", agent.GuestName, "--mechanism", "exec-step", "--duration", "2s", "--json")
	var events []string
	for d := json.NewDecoder(strings.NewReader(out.Stdout)); d.More(); {
		var line struct {
			Event    string
			Counters *monitor.Counters
		}
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		events = append(events, line.Event)
		if line.Event == "detached" && (line.Counters == nil || line.Counters.Signals == 0 || line.Counters.Samples == 0) {
			t.Errorf("counters %+v", line.Counters)
		}
	}
	if strings.Join(events, " ") != "attached detached" {
		t.Errorf("events %v", events)
	}
	inDom0(t, m, exit.Done, "known from a file", "watch", "1", "--duration", "1s")
	inDom0(t, m, exit.Usage, "no such domain", "watch", "nobody")
	inDom0(t, m, exit.Usage, "no Linux banner", "watch", agent.GuestName, "--kernel", place.Agent)
	inDom0(t, m, exit.Done, "ring free ok, altp2m off ok, no step ok, no trap ok, not paused ok", "recover",
		agent.GuestName)
	inDom0(t, m, exit.Done, `"recovered": []`, "recover", "--all", "--json")
}

// TestEvent: both loops get events, and the guest's heart beats afterwards. The cost of
// an event is a result and not asserted.
func TestEvent(t *testing.T) {
	ctx, h := openLab(t, 35*time.Second)
	mechanisms := price.EventMechanisms()
	if !all() {
		mechanisms = []string{"exec-altp2m", price.PollMechanism}
	}
	m := h.guest(t, ctx, guest(1))
	r, err := m.MeasureEvent(price.EventJob{Driver: "xenctrl", Mechanisms: mechanisms, Blocks: 1,
		Window: 200 * time.Millisecond}, discard)
	if err != nil {
		t.Fatal(err)
	}
	r.Compute()
	if len(r.Rows) != len(mechanisms)-1 || r.Host != "lab" || r.Driver != "xenctrl" || r.VCPUs != 1 ||
		r.GuestKernel == "" {
		t.Fatalf("%+v", r)
	}
	for i, row := range r.Rows {
		if row.OursEvents == 0 || row.CEvents == 0 || !row.Alive {
			t.Errorf("%+v", row)
		}
		for side, s := range map[string]*event.Side{"ours": r.Series[i].TimedOurs, "C": r.Series[i].TimedC} {
			if s == nil || s.Events == 0 || s.Parts["hypervisor"] <= 0 || s.Parts["monitor"] <= 0 {
				t.Errorf("%s: timed pass of %s: %+v", row.Mechanism, side, s)
			}
		}
	}
	if len(r.Poll) != 2 || r.Poll[0].Samples == 0 || r.Reads == nil || r.Reads.Mapped == 0 ||
		r.Reads.Unmapped <= r.Reads.Mapped {
		t.Errorf("polling %+v, reads %+v", r.Poll, r.Reads)
	}
}

// TestMisses: on two vCPUs, a trap in a view of its own that stops a vCPU at every
// switch sees every switch that the guest counts. No mechanism sees more than there
// are. How many the others miss is a result and not asserted.
func TestMisses(t *testing.T) {
	ctx, h := openLab(t, 15*time.Second)
	const vcpus = 2
	mechanisms := []string{"exec-altp2m"}
	if all() {
		mechanisms = append(mechanisms, "exec-step")
	}
	m := h.guest(t, ctx, guest(vcpus))
	r, err := m.MeasureMisses(price.MissesJob{Driver: "xenctrl", Mechanisms: mechanisms, Window: time.Second,
		Sample: 100 * time.Millisecond}, discard)
	if err != nil {
		t.Fatal(err)
	}
	r.Compute()
	if len(r.Rows) != 2*len(mechanisms) || r.Host != "lab" || r.VCPUs != vcpus {
		t.Fatalf("%+v", r)
	}
	for i, row := range r.Rows {
		passes := []int{misses.Unlimited, monitor.DefaultPasses}[i%2]
		if row.Passes != passes || row.Signals == 0 || row.Switches == 0 || row.Missed < -misses.Edge(vcpus) ||
			row.BackedOut != "" || !row.Alive {
			t.Errorf("%+v", row)
		}
		if passes == misses.Unlimited && row.Mechanism == "exec-altp2m" && row.Missed > misses.Edge(vcpus) {
			t.Errorf("%s missed %d switches of %d", row.Mechanism, row.Missed, row.Switches)
		}
	}
}
