package trial

import (
	"context"
	"fmt"
	"strings"
	"time"

	"hangbench/bench/plan"
	"hangbench/guests/beat"
	"hangbench/monitor/trap"
	"hangbench/results"
	"hangbench/scenarios"
	"hangbench/scenarios/inject"
	"hangbench/scenarios/sign"
)

const (
	// sayEvery is how often a long window says how far it is. A lab that says nothing
	// would be taken for one that is stuck.
	sayEvery = 20 * time.Second
	// phase is the span over which a trial's seed moves the injection: two heartbeats,
	// so that the fault hits every phase of the guest's own period.
	phase = 2 * beat.Period
	// requestTime is how long PID 1 may take to accept a request. It looks once a second
	// and takes precedence over everything else in the guest.
	requestTime = 10 * time.Second
)

// Run runs one trial. A guest or an observer that misbehaves is in the record. The
// error is for what is not the trial's outcome: ctx ended, the host failed, or the
// plan asks for something that does not exist.
func Run(ctx context.Context, p plan.Trial, env Env) (results.Trial, error) {
	facts := env.Guest.Facts()
	rec := results.Trial{
		Schema: results.Schema, Suite: p.Suite, Trial: p.Index, Block: p.Block,
		Host: env.Host.Kind(), Cell: p.Cell, Seed: p.Seed,
	}
	rec.GuestKernel = facts.Release
	sc, err := scenarios.OfCell(p.Cell)
	if err != nil {
		return rec, err
	}
	mech, err := Mechanism(p)
	if err != nil {
		return rec, err
	}
	rec.Expected, rec.Kind = sc.Class, sc.Kind()
	if sc.Unknown() {
		rec.Expected = ""
	}
	if why := sc.Lasting(); p.BoundedMS > 0 && why != "" {
		return rec, fmt.Errorf("scenario %s %s and cannot be bounded", sc.ID, why)
	}
	if !sc.Control() {
		rec.DeadlineNS = p.DeadlineNS()
	}
	if facts.CPUs < sc.MinVCPUs {
		return rec, fmt.Errorf("scenario %s needs a guest with %d vCPUs, this one has %d", sc.ID, sc.MinVCPUs, facts.CPUs)
	}
	r := &run{
		p: p, env: env, clock: env.Host, page: env.Guest.Page(), cpus: facts.CPUs,
		sc: sc, mech: mech, rec: &rec,
	}
	err = r.all(ctx)
	if why, ok := reasons(err); ok {
		rec.Outcome, rec.Reason = results.Invalid, strings.ReplaceAll(strings.Join(why, "; "), "\n", "; ")
		return rec, nil
	}
	return rec, err
}

// Mechanism returns the mechanism of a trial. It is none if a program watches in place of
// the monitor.
func Mechanism(p plan.Trial) (trap.Mechanism, error) {
	if _, ok := p.External(); ok {
		return trap.Find(results.Unwatched)
	}
	return trap.Find(p.Mechanism)
}

// run is a trial under way.
type run struct {
	p     plan.Trial
	env   Env
	clock Clock
	page  *beat.Page
	cpus  int // that have a heartbeat
	sc    scenarios.Scenario
	mech  trap.Mechanism
	rec   *results.Trial
	undo  undo

	beside   []*bystander
	attached bool // the observer whose verdict ends the trial
	away     bool // the guest has no domain: it was saved
	ended    bool // the guest has ended itself, as it was asked to
	traced   Tracer
	armedAt  int64 // when the monitored window began
	verdict  *Report

	before sign.Pace // what the guest did in the window without the observer
	during sign.Pace // and in the window with it
	// dom0Before is the CPU time that dom0 used in the first of these windows, in
	// nanoseconds.
	dom0Before int64

	t0         int64 // when the fault landed, or 0
	truth      *sign.Truth
	until      int64             // later reports are not about the fault; 0: there is no such end yet
	injection  *inject.Injection // the fault in place
	follower   *follower         // of a fault of unknown effect
	removingAt int64             // when the removal of the fault began
	removedAt  int64             // and when it was complete
	recovered  bool
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// count reads the guest's counters.
func (r *run) count() beat.Count { return r.page.Total(r.cpus) }
