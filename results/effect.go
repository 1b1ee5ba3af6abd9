package results

import (
	"fmt"
	"slices"
)

// What became of a fault whose effect nobody knew before.
const (
	NotReached = "not-reached" // the guest never came to the place of the fault
	NoEffect   = "none"        // every part of the guest went on as before
	Slowed     = "slowed"      // a part paused for long or did less than half, and went on
	Failed     = "failed"      // a process of a part ended, and nothing stopped
	PartHung   = "partial"     // parts of the guest stopped and did not go on
	AllHung    = "full"        // all parts stopped and did not go on
	Crashed    = "crashed"     // the guest ended itself
)

// Whats returns what can become of a fault, from nothing to the worst.
func Whats() []string {
	return []string{NotReached, NoEffect, Slowed, Failed, PartHung, AllHung, Crashed}
}

// Effect is what became of a fault whose effect nobody knew before, by the guest's own
// evidence and a probe from outside, until the deadline. The parts of a guest are the
// heartbeat and the work of each vCPU, processes that do small things all the time
// (canaries), and PID 1, which answers dom0. No monitor is asked. Times are from T0.
type Effect struct {
	What string `json:"what"` // not-reached, none, slowed, failed, partial, full or crashed
	// Reached says whether the guest came to the place of the fault; absent if nobody can
	// tell.
	Reached *bool `json:"reached,omitempty"`
	// HungNS is the last sign of life of the part that stopped first; of a guest that ended
	// itself while all went on, when it was seen to have ended.
	HungNS *int64 `json:"hung_ns,omitempty"`
	// FullNS is the last sign of life of the part that stopped last, if all stopped.
	FullNS *int64 `json:"full_ns,omitempty"`
	// Grew: a part still went on when another had stopped for long, and stopped later. The
	// hang was partial first and full in the end.
	Grew bool `json:"grew,omitempty"`
	// Stopped are the parts that stopped and did not go on, as in beat 0.
	Stopped []string `json:"stopped,omitempty"`
	// Slowed are the parts that paused for long or did less than half, and went on.
	Slowed []string `json:"slowed,omitempty"`
	// Ended are the parts whose process ended: they do not count, and do not hang.
	Ended []string `json:"ended,omitempty"`
	// PauseNS is the longest pause of a part that went on.
	PauseNS int64 `json:"pause_ns,omitempty"`
	// Right are the classes that a verdict may name, by what stopped and by where its vCPUs
	// were.
	Right []string `json:"right,omitempty"`
	// Places say where vCPUs without a heartbeat were, a sentence each.
	Places []string `json:"places,omitempty"`
}

// Hung reports whether a part of the guest, or all of it, hung or crashed.
func (e *Effect) Hung() bool { return slices.Contains([]string{PartHung, AllHung, Crashed}, e.What) }

// mostParts is the largest number of parts and places of an Effect.
const mostParts = 200

// validate returns an error for an effect that cannot be.
func (e *Effect) validate() error {
	if !slices.Contains(Whats(), e.What) {
		return fmt.Errorf("effect.what %q is none of %q", e.What, Whats())
	}
	if n := max(len(e.Stopped), len(e.Slowed), len(e.Ended), len(e.Right), len(e.Places)); n > mostParts {
		return fmt.Errorf("effect has a list of %d, more than %d", n, mostParts)
	}
	for _, rule := range []struct {
		says   string
		broken bool
	}{
		{"effect.hung_ns without a hang, or a hang without it", e.Hung() != (e.HungNS != nil)},
		{"effect.full_ns of a guest that is not hung as a whole, or such a guest without it",
			(e.What == AllHung) != (e.FullNS != nil)},
		{"effect.full_ns is before effect.hung_ns", e.HungNS != nil && e.FullNS != nil && *e.FullNS < *e.HungNS},
		{"effect.grew of a guest that is not hung as a whole", e.Grew && e.What != AllHung},
		{"a hang without effect.stopped, or effect.stopped without one",
			(e.What == PartHung || e.What == AllHung) && len(e.Stopped) == 0 || !e.Hung() && len(e.Stopped) > 0},
		{"effect.slowed, and nothing became of the fault",
			(e.What == NoEffect || e.What == NotReached) && len(e.Slowed) > 0},
		{"effect.what is slowed, and effect.slowed is empty", e.What == Slowed && len(e.Slowed) == 0},
		{"effect.what is failed, and effect.ended is empty", e.What == Failed && len(e.Ended) == 0},
		{"effect.ended, and nothing became of the fault",
			(e.What == NoEffect || e.What == NotReached || e.What == Slowed) && len(e.Ended) > 0},
		{"effect.what is not-reached, and effect.reached says otherwise",
			e.What == NotReached && (e.Reached == nil || *e.Reached)},
	} {
		if rule.broken {
			return fmt.Errorf("%s", rule.says)
		}
	}
	return nil
}
