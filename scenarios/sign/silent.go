package sign

import (
	"fmt"
	"slices"
)

// Silent is the sign of a fault that stops vCPUs: their heartbeat stands still.
type Silent struct{ VCPUs VCPUs }

func (Silent) String() string   { return "silent" }
func (Silent) Effects() Effects { return Effects{} }

// Follow begins to look for vCPUs without a heartbeat.
func (s Silent) Follow(t *Truth) Watch { return silentWatch{s, t} }

// Resumed waits until every vCPU has had two heartbeats.
func (Silent) Resumed(t *Truth) func() bool { return t.beaten() }

type silentWatch struct {
	Silent
	t *Truth
}

func (w silentWatch) Shown(now int64) (shown bool, since int64, err error) {
	silent := w.t.Silent(now)
	if w.VCPUs == Some {
		for n, i := range silent {
			if at := w.t.beats[i].at; n == 0 || at < since {
				since = at
			}
		}
		return len(silent) > 0, since, nil
	}
	shown = true
	for _, i := range w.VCPUs.of(w.t.CPUs) {
		shown = shown && slices.Contains(silent, i)
		since = max(since, w.t.beats[i].at)
	}
	return shown, since, nil
}

func (w silentWatch) Refuted(now int64) string {
	return fmt.Sprintf("the guest's heartbeat went on after the fault: %d beats in %d ms",
		w.t.Since().Beats, w.t.afterMS(now))
}

// Stood wants the heartbeat of each of the vCPUs to have paused, and that of one for Some.
func (s Silent) Stood(t *Truth, b Bound) (since int64, why string) {
	if s.VCPUs == Some {
		return stoodSome(t, b)
	}
	for _, i := range s.VCPUs.of(t.CPUs) {
		p := &t.beats[i]
		if !p.shows(b.Length, t.beatGap/silentBeats) {
			return 0, fmt.Sprintf("the heartbeat of vCPU %d never paused for more than %d ms of the fault's %d",
				i, p.longest/1e6, b.Length.Milliseconds())
		}
		since = max(since, p.from)
	}
	return since, ""
}

// stoodSome returns when the heartbeat of the first vCPU paused.
func stoodSome(t *Truth, b Bound) (since int64, why string) {
	paused, longest := false, int64(0)
	for i := range t.beats {
		p := &t.beats[i]
		longest = max(longest, p.longest)
		if p.shows(b.Length, t.beatGap/silentBeats) && (!paused || p.from < since) {
			paused, since = true, p.from
		}
	}
	if !paused {
		return 0, fmt.Sprintf("no vCPU's heartbeat paused for more than %d ms of the fault's %d",
			longest/1e6, b.Length.Milliseconds())
	}
	return since, ""
}

// Failed wants no heartbeat during the disturbance. One per vCPU may have been under
// way.
func (Silent) Failed(d Disturbed) string {
	if d.During.Beats <= uint64(d.CPUs) {
		return ""
	}
	return fmt.Sprintf("%d beats meanwhile", d.During.Beats)
}
