package sign

import "fmt"

// Stuck is the sign of a fault that stops work: no unit of the workload's work is
// finished any more. Heartbeats may go on.
type Stuck struct{}

func (Stuck) String() string   { return "stuck" }
func (Stuck) Effects() Effects { return Effects{TasksSleep: true} }

// Follow begins to look for a guest that does no work.
func (Stuck) Follow(t *Truth) Watch {
	return followEach(t, func(t *Truth) Watch { return stuckWatch{t} })
}

// Resumed waits for two units of work.
func (Stuck) Resumed(t *Truth) func() bool { return resumedEach(t, (*Truth).worked) }

type stuckWatch struct{ t *Truth }

func (w stuckWatch) Shown(now int64) (shown bool, since int64, err error) {
	return now-w.t.work.at >= w.t.workGap, w.t.work.at, nil
}

func (w stuckWatch) Refuted(now int64) string { return workWentOn(w.t, now) }

// workWentOn says how much work a guest did that was to do none, or little.
func workWentOn(t *Truth, now int64) string {
	return fmt.Sprintf("the guest's work went on after the fault: %d units in %d ms",
		t.work.count-t.start.Work, t.afterMS(now))
}

// Stood wants the work to have paused.
func (Stuck) Stood(t *Truth, b Bound) (since int64, why string) { return stoodEach(t, b, stuckStood) }

func stuckStood(t *Truth, b Bound) (since int64, why string) {
	if !t.work.shows(b.Length, t.workGap/silentBeats) {
		return 0, fmt.Sprintf("the guest's work never paused for more than %d ms of the fault's %d",
			t.work.longest/1e6, b.Length.Milliseconds())
	}
	return t.work.from, ""
}

// Failed wants no work during the disturbance. One unit per vCPU may have been under
// way.
func (Stuck) Failed(d Disturbed) string { return failedEach(d, stuckFailed) }

func stuckFailed(d Disturbed) string {
	if d.During.Work <= uint64(d.CPUs) {
		return ""
	}
	return fmt.Sprintf("%d units of work meanwhile", d.During.Work)
}
