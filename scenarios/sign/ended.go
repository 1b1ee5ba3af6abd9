package sign

import "fmt"

// Ended is the sign of a fault at which the guest ends itself. Its heartbeat ends too.
type Ended struct{}

func (Ended) String() string   { return "ended" }
func (Ended) Effects() Effects { return Effects{GuestEnds: true} }

// Follow begins to ask whether the guest has ended.
func (Ended) Follow(t *Truth) Watch { return &endedWatch{t: t} }

// Resumed waits until every vCPU has had two heartbeats.
func (Ended) Resumed(t *Truth) func() bool { return t.beaten() }

type endedWatch struct {
	t  *Truth
	at int64 // when the guest was first seen to have ended, or 0
}

func (w *endedWatch) Shown(now int64) (shown bool, since int64, err error) {
	if w.at == 0 {
		how, err := w.t.Ended()
		if err != nil {
			return false, 0, fmt.Errorf("ask whether the guest has ended: %w", err)
		}
		if how != "" {
			w.at = now
		}
	}
	return w.at != 0 && len(w.t.Silent(now)) == w.t.CPUs, w.at, nil
}

func (w *endedWatch) Refuted(now int64) string {
	return fmt.Sprintf("the guest had not ended %d ms after the fault", w.t.afterMS(now))
}
