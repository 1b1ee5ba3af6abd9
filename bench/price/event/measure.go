package event

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"hangbench/monitor/trap"
)

// Mechanisms returns the names of the mechanisms whose events are measured: those that the
// yardstick has too.
func Mechanisms() []string {
	var names []string
	for _, m := range trap.Mechanisms() {
		if m.Yardstick {
			names = append(names, m.Name)
		}
	}
	return names
}

// Account is the state of all accounts at one instant.
type Account struct {
	NS     int64  // dom0's monotonic clock
	Cycles uint64 // time-stamp counter
	Dom0NS int64  // CPU time that dom0 has used
	Work   uint64 // units of work that the guest has done
	Beats  uint64 // heartbeats of the guest
}

// Counts are the counts of a loop from attaching to its end.
type Counts struct {
	Events    uint64
	Samples   uint64 // observations, of the project's loop only
	BackedOut string // why the loop detached by itself; empty if it did not
}

// Loop is a loop that answers events.
type Loop interface {
	// Stop ends the loop, detaches it from the guest and returns its counts.
	Stop() (Counts, error)
}

// Sampler is a loop that samples. Samples and Spent may be called while it runs.
type Sampler interface {
	Loop
	// Samples returns how many samples it has made.
	Samples() uint64
	// Spent returns the cycles of the time-stamp counter that samples have taken so
	// far, by part. A part counts from its begin to its end: a guest that shares the
	// CPU may have run meanwhile.
	Spent() map[string]uint64
}

// Guest is a guest that is measured, as its dom0 sees it.
type Guest interface {
	// Accounts reads the accounts.
	Accounts() (Account, error)
	// SetBusy starts or ends the guest's busy workload and waits until it has.
	SetBusy(ctx context.Context, busy bool) error
	// Sleep waits for d on dom0's clock.
	Sleep(ctx context.Context, d time.Duration) error
}

// LoopKind is one of the two loops that are compared.
type LoopKind int

// The two loops.
const (
	Ours      LoopKind = iota // the project's own
	Yardstick                 // the minimal C loop
)

// Loops starts the loops that are compared.
type Loops interface {
	// Start attaches a loop.
	Start(ctx context.Context, kind LoopKind, mechanism string) (Loop, error)
	// Timed runs a loop for d while it and Xen's trace take times. It returns the
	// instants and how many trace records were lost.
	Timed(ctx context.Context, kind LoopKind, mechanism string, d time.Duration) ([]Instant, uint64, error)
}

// Window holds the sums over one or more windows of one kind. Times are in nanoseconds.
type Window struct {
	NS     int64  `json:"ns"`
	Cycles uint64 `json:"cycles"`
	Dom0NS int64  `json:"dom0_ns"`
	Work   uint64 `json:"work"`
	Events uint64 `json:"events"`
}

func (w *Window) add(o Window) {
	w.NS += o.NS
	w.Cycles += o.Cycles
	w.Dom0NS += o.Dom0NS
	w.Work += o.Work
	w.Events += o.Events
}

// Block is one block of the comparison: two windows of each kind.
type Block struct {
	Base Window `json:"base"` // without any monitor
	Ours Window `json:"ours"`
	C    Window `json:"c"`
}

// Side summarises the timed pass of one loop.
type Side struct {
	// Handling times, from the return of a wait until the answers are sent, in nanoseconds.
	HandlingP50 float64 `json:"handling_p50_ns"`
	HandlingP99 float64 `json:"handling_p99_ns"`
	// Parts of an event: means over Events, in cycles.
	Events     int                `json:"events"`
	Parts      map[string]float64 `json:"parts_cycles"`
	Hypercalls map[string]float64 `json:"hypercalls"`
	Typicals   int                `json:"typical_events"`
	Typical    []Step             `json:"typical"`
	TraceLost  uint64             `json:"trace_lost"`
}

// Series holds the measurements of one mechanism.
type Series struct {
	Mechanism string  `json:"mechanism"`
	Blocks    []Block `json:"blocks"`
	// TimedOurs and TimedC are nil without a timed pass.
	TimedOurs *Side `json:"timed_ours,omitempty"`
	TimedC    *Side `json:"timed_c,omitempty"`
	// Alive reports whether the guest had a heartbeat afterwards.
	Alive bool `json:"alive"`
}

// Config says how long to measure.
type Config struct {
	Blocks int           // of six windows each
	Window time.Duration // one window
	Timed  time.Duration // the timed pass of each loop; 0 for none
	// Log gets a record before each measurement.
	Log *slog.Logger
}

// errIdle means that a window has nothing to measure.
var errIdle = errors.New("the guest made no progress, or the loop saw no event")

// window measures a window with a loop attached, or without if start is nil.
func window(ctx context.Context, g Guest, d time.Duration, start func() (Loop, error)) (w Window, c Counts, err error) {
	var l Loop
	if start != nil {
		if l, err = start(); err != nil {
			return w, c, err
		}
	}
	// The events between attaching and the first reading of the accounts count too, and
	// those between the second and the stop: one or two, because the guest gets little time
	// meanwhile.
	before, err := g.Accounts()
	if err == nil {
		err = g.Sleep(ctx, d)
	}
	after, lerr := g.Accounts()
	err = errors.Join(err, lerr)
	if l != nil {
		var serr error
		c, serr = l.Stop()
		err = errors.Join(err, serr)
	}
	if err == nil && c.BackedOut != "" {
		err = fmt.Errorf("the monitor detached by itself: %s", c.BackedOut)
	}
	w = between(before, after)
	w.Events = c.Events
	return w, c, err
}

// Measure compares the two loops with one mechanism.
func Measure(ctx context.Context, g Guest, l Loops, mechanism string, c Config) (Series, error) {
	s := Series{Mechanism: mechanism}
	wrap := func(what string, err error) (Series, error) {
		return s, fmt.Errorf("%s, %s: %w", mechanism, what, err)
	}
	if err := g.SetBusy(ctx, true); err != nil {
		return wrap("workload", err)
	}
	ours := func() (Loop, error) { return l.Start(ctx, Ours, mechanism) }
	yard := func() (Loop, error) { return l.Start(ctx, Yardstick, mechanism) }
	for i := range c.Blocks {
		var b Block
		for _, step := range []struct {
			name  string
			to    *Window
			start func() (Loop, error)
		}{
			{"baseline", &b.Base, nil}, {"ours", &b.Ours, ours}, {"yardstick", &b.C, yard},
			{"yardstick", &b.C, yard}, {"ours", &b.Ours, ours}, {"baseline", &b.Base, nil},
		} {
			c.Log.Info(fmt.Sprintf("%s: block %d of %d: %s", mechanism, i+1, c.Blocks, step.name))
			w, _, err := window(ctx, g, c.Window, step.start)
			if err != nil {
				return wrap(step.name, err)
			}
			step.to.add(w)
		}
		if b.Base.Work == 0 || b.Ours.Events == 0 || b.C.Events == 0 {
			return wrap("block", errIdle)
		}
		s.Blocks = append(s.Blocks, b)
	}
	if c.Timed > 0 {
		for _, side := range []struct {
			name string
			kind LoopKind
			to   **Side
		}{{"ours", Ours, &s.TimedOurs}, {"yardstick", Yardstick, &s.TimedC}} {
			c.Log.Info(mechanism + ": timed pass: " + side.name)
			all, lost, err := l.Timed(ctx, side.kind, mechanism, c.Timed)
			if err != nil {
				return wrap("timed pass, "+side.name, err)
			}
			base := s.Blocks[0].Base
			*side.to = newSide(all, lost, float64(base.NS)/float64(base.Cycles))
		}
	}
	var err error
	s.Alive, err = Alive(ctx, g)
	return s, err
}

// newSide summarises a timed pass.
func newSide(all []Instant, lost uint64, nsPerCycle float64) *Side {
	b := Split(all)
	t := Handling(all)
	side := &Side{
		HandlingP50: quantile(t, 0.50) * nsPerCycle, HandlingP99: quantile(t, 0.99) * nsPerCycle,
		Events: b.Events, Parts: map[string]float64{}, Hypercalls: b.Hypercalls,
		Typicals: b.Typicals, Typical: b.Typical, TraceLost: lost,
	}
	for _, p := range b.Parts {
		n := float64(len(b.Parts))
		side.Parts["hypervisor"] += float64(p.Hypervisor) / n
		side.Parts["wakeup"] += float64(p.Wakeup) / n
		side.Parts["monitor"] += float64(p.Monitor) / n
		side.Parts["kernel"] += float64(p.Kernel) / n
	}
	return side
}

// aliveTime is how long Alive waits for heartbeats, on dom0's clock.
const aliveTime = 5 * time.Second

// Alive reports whether the guest makes two heartbeats within five seconds.
func Alive(ctx context.Context, g Guest) (bool, error) {
	first, err := g.Accounts()
	if err != nil {
		return false, err
	}
	for {
		if err := g.Sleep(ctx, 100*time.Millisecond); err != nil {
			return false, err
		}
		now, err := g.Accounts()
		if err != nil {
			return false, err
		}
		if now.Beats > first.Beats+1 {
			return true, nil
		}
		if now.NS-first.NS > int64(aliveTime) {
			return false, nil
		}
	}
}

// PollEvery is the sampling period at which polling is priced.
const PollEvery = 100 * time.Millisecond

// PollSettle is the time between attaching a monitor and measuring its steady price. In
// its first samples a monitor maps the guest's pages.
const PollSettle = 2 * time.Second

// Polling holds the measurements of the mechanism that traps nothing.
type Polling struct {
	Workload string `json:"workload"`
	Base     Window `json:"base"`
	// Attach is the time from before attaching until PollSettle later, and AttachSamples
	// the number of samples in it.
	Attach        Window `json:"attach"`
	AttachSamples uint64 `json:"attach_samples"`
	With          Window `json:"with"`
	Samples       uint64 `json:"samples"`
	// Parts is the time of the samples of With by part, in cycles.
	Parts map[string]uint64 `json:"parts_cycles"`
}

// Reads holds the time of reading eight bytes of guest memory, in cycles, as the median of
// many: from a page that the library has mapped, and from one that it has to map.
type Reads struct {
	Mapped   uint64 `json:"mapped_cycles"`
	Unmapped uint64 `json:"unmapped_cycles"`
	// Stale reports whether the driver reads old memory where the guest has exchanged a
	// frame, until it forgets its pages. If it reads old memory after that, measuring fails.
	Stale bool `json:"stale"`
	// Kernel is "ok" if LibVMI, with a configuration in memory, finds the kernel where the
	// monitor does, or the reason why not. It is empty with another driver.
	Kernel string `json:"kernel,omitempty"`
	// Frame is "ok" if LibVMI reports executions in a frame by an event for that frame
	// alone, in the host view and in another, and none after the event was cleared; or the
	// reason why not. It is empty with another driver.
	Frame string `json:"frame_events,omitempty"`
}

// Attach attaches a monitor that traps nothing and samples once in a period.
type Attach func(ctx context.Context, period time.Duration) (Sampler, error)

// MeasurePoll measures polling on an idle guest and on a busy one, with windows without a
// monitor before and after.
func MeasurePoll(ctx context.Context, g Guest, attach Attach, d time.Duration, log *slog.Logger) ([]Polling, error) {
	var all []Polling
	for _, w := range []struct {
		name string
		busy bool
	}{{"idle", false}, {"busy", true}} {
		if err := g.SetBusy(ctx, w.busy); err != nil {
			return nil, fmt.Errorf("poll, workload: %w", err)
		}
		log.Info("poll: " + w.name)
		p := Polling{Workload: w.name, Parts: map[string]uint64{}}
		for _, with := range []bool{false, true, false} {
			var err error
			if with {
				err = p.sampled(ctx, g, attach, d)
			} else {
				var win Window
				win, _, err = window(ctx, g, d, nil)
				p.Base.add(win)
			}
			if err != nil {
				return nil, fmt.Errorf("poll, %s: %w", w.name, err)
			}
		}
		all = append(all, p)
	}
	return all, nil
}

// sampled attaches a monitor, waits for PollSettle, and measures a window of length d.
func (p *Polling) sampled(ctx context.Context, g Guest, attach Attach, d time.Duration) (err error) {
	start, err := g.Accounts()
	if err != nil {
		return err
	}
	l, err := attach(ctx, PollEvery)
	if err != nil {
		return err
	}
	defer func() {
		c, serr := l.Stop()
		if serr == nil && c.BackedOut != "" {
			serr = fmt.Errorf("the monitor detached by itself: %s", c.BackedOut)
		}
		err = errors.Join(err, serr)
	}()
	if err := g.Sleep(ctx, PollSettle); err != nil {
		return err
	}
	before, err := g.Accounts()
	if err != nil {
		return err
	}
	samples, spent := l.Samples(), l.Spent()
	if err := g.Sleep(ctx, d); err != nil {
		return err
	}
	after, err := g.Accounts()
	if err != nil {
		return err
	}
	p.Attach.add(between(start, before))
	p.AttachSamples += samples
	p.With.add(between(before, after))
	p.Samples += l.Samples() - samples
	for part, n := range l.Spent() {
		p.Parts[part] += n - spent[part]
	}
	return nil
}

// between returns the differences of the accounts, without events.
func between(before, after Account) Window {
	return Window{
		NS: after.NS - before.NS, Cycles: after.Cycles - before.Cycles, Dom0NS: after.Dom0NS - before.Dom0NS,
		Work: after.Work - before.Work,
	}
}
