package sign

import (
	"fmt"
	"time"

	"hangbench/guests/beat"
)

// Slow is the sign of a fault that leaves the guest little time: its work falls below
// a tenth of its former pace. Below half is enough for a disturbance and for a bounded
// fault.
type Slow struct{}

const (
	// slowFactor is how many times slower than before the work must be, over a whole
	// slowWindow.
	slowFactor = 10
	slowWindow = 2 * time.Second
)

func (Slow) String() string   { return "slow" }
func (Slow) Effects() Effects { return Effects{} }

// Follow begins to look for slow work.
func (Slow) Follow(t *Truth) Watch {
	return followEach(t, func(t *Truth) Watch { return &slowWatch{t: t, at: t.work.at, work: t.work.count} })
}

// Resumed waits until the guest has worked at half its pace for one beat's time.
func (Slow) Resumed(t *Truth) func() bool { return resumedEach(t, slowResumed) }

func slowResumed(t *Truth) func() bool {
	last, at := t.done(), t.Now()
	return func() bool {
		now := t.Now()
		if now-at < int64(beat.Period) {
			return false
		}
		work := t.done()
		rate := float64(work-last) / float64(now-at)
		last, at = work, now
		return 2*rate >= t.pace()
	}
}

type slowWatch struct {
	t     *Truth
	at    int64  // when the present window began
	work  uint64 // the counter of work then
	since int64  // when the first of the slow windows in a row began, or 0
}

func (w *slowWatch) Shown(now int64) (shown bool, since int64, err error) {
	if now-w.at >= int64(slowWindow) {
		rate := float64(w.t.work.count-w.work) / float64(now-w.at)
		if slowFactor*rate >= w.t.pace() {
			w.since = 0
		} else if w.since == 0 {
			w.since = w.at
		}
		w.at, w.work = now, w.t.work.count
	}
	return w.since != 0, w.since, nil
}

func (w *slowWatch) Refuted(now int64) string { return workWentOn(w.t, now) }

// Stood wants less than half the work throughout the fault.
func (Slow) Stood(t *Truth, b Bound) (since int64, why string) {
	if did := float64(b.Work); 2*did >= t.pace()*float64(b.RemovedAt-t.T0) {
		return 0, fmt.Sprintf("the guest's work went on during the fault: %.0f units in %d ms", did, t.afterMS(b.RemovedAt))
	}
	return t.T0, ""
}

// Failed wants less than half the work during the disturbance.
func (Slow) Failed(d Disturbed) string { return failedEach(d, slowFailed) }

func slowFailed(d Disturbed) string {
	if 2*d.During.Work*uint64(d.Before.Window.Milliseconds()) < d.Before.Work*uint64(d.During.Window.Milliseconds()) {
		return ""
	}
	return fmt.Sprintf("%d units of work in %v, and %d in %d ms before it",
		d.During.Work, d.During.Window, d.Before.Work, d.Before.Window.Milliseconds())
}
