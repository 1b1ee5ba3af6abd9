package sign

import "fmt"

// Held is the sign of a monitor that holds the guest up: the workload's work stands
// still for a while, and goes on by itself when the monitor releases the guest.
type Held struct{}

// heldUnits is how many units of work in a row must be missing. The monitor releases
// the guest within a second, and with two vCPUs a unit takes some 150 ms under the
// slowest mechanisms.
const heldUnits = 3

func (Held) String() string   { return "held" }
func (Held) Effects() Effects { return Effects{} }

// Follow begins to look for the longest time without work.
func (Held) Follow(t *Truth) Watch {
	units := heldUnits * int64(t.Before.Window) / int64(max(t.Before.Work, 1))
	return &heldWatch{t: t, gap: max(units, silentBeats*int64(Poll))}
}

// Resumed waits for two units of work.
func (Held) Resumed(t *Truth) func() bool { return t.worked() }

type heldWatch struct {
	t         *Truth
	gap       int64 // how long a guest must be without work to have been held up
	since, ns int64 // when the longest time without work began, and its length
}

// Shown counts the longest time so far, because the monitor may release the guest at
// any moment.
func (w *heldWatch) Shown(now int64) (shown bool, since int64, err error) {
	if from := max(w.t.work.at, w.t.T0); now-from > w.ns {
		w.since, w.ns = from, now-from
	}
	return w.ns >= w.gap, w.since, nil
}

func (w *heldWatch) Refuted(int64) string {
	return fmt.Sprintf("the guest's work went on: it stood still for %d ms at most, and %d are needed to tell",
		w.ns/1e6, w.gap/1e6)
}
