package figure

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"

	"hangbench/analysis/stats"
)

// curvesOf groups the lives of the shape's hangs by what watched them.
func curvesOf(s *shape) map[string][]stats.Lifetime {
	lives := make(map[string][]stats.Lifetime)
	for _, c := range s.set.Cells {
		if c.Fault && c.Watched() {
			lives[c.Label] = append(lives[c.Label], c.Lifetimes()...)
		}
	}
	for _, w := range s.set.Watchdogs() {
		if len(w.Lives) > 0 {
			lives[observerName(w.Detector)] = w.Lives
		}
	}
	return lives
}

// TestReadSurvival reads the curves, their bands and their marks of censored trials.
func TestReadSurvival(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"few", "many", "wrong", "near", "blind", "drivers", "listened", "vcpus", "faults",
		"three",
		"slow", "others"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := theShape(t, name)
			r := record(t, s.figure(t, "survival"))
			x, ticks := r.xAxis(t, true)
			r.guidedX(t, ticks)
			y, shares := r.yAxis(t, false)
			r.guidedY(t, shares)
			bottom := r.numbers()[len(r.numbers())-1].bounds().Max.Y
			plot := r.in(0, bottom, r.w, r.h)
			curves := curvesOf(s)
			widths := make(map[vg.Length]bool) // of the curves of arms: where they are equal all must be seen
			for label, lives := range curves {
				km, err := stats.KaplanMeier(lives, 0.95)
				if err != nil {
					t.Fatal(err)
				}
				style := r.key(t, fmt.Sprintf("%s (%d of %d)", label, km.Events, km.N))[0]
				other := strings.HasPrefix(label, "guest's ") || label == "Xen's watchdog" || label == "another-program"
				if style.width < 1 || widths[style.width] && !other {
					t.Errorf("the curve of %s is as broad as another: %g", label, style.width)
				}
				if !other {
					widths[style.width] = true
				} else if style.color.R != style.color.G || style.color.G != style.color.B {
					t.Errorf("the curve of %s is %v, not grey", label, style.color)
				}
				lines := slices.DeleteFunc(plot.all("line", style.color), func(m mark) bool {
					return len(m.pts) == 2 && m.pts[0].X == m.pts[1].X || m.width != style.width ||
						!slices.Equal(m.dashes, style.dashes)
				})
				if len(lines) != 1 {
					t.Errorf("%s has %d curves", label, len(lines))
					continue
				}
				readSteps(t, label, lines[0], x, y, km)
				readCensored(t, label, plot, style, x, y, lives, km)
				readBand(t, label, plot, style, x, y, km, len(curves) <= 3)
			}
			readLimits(t, plot, x, curves)
		})
	}
}

// readSteps fails unless the line goes down where and as far as the estimate does.
func readSteps(t *testing.T, label string, line mark, x, y scale, km *stats.Survival) {
	t.Helper()
	var times, shares []float64 // of the corners
	for _, pt := range line.pts[1:] {
		times, shares = append(times, x.value(pt.X)), append(shares, y.value(pt.Y))
	}
	wantTimes, wantShares := []float64{}, []float64{}
	share := 1.0
	for _, st := range km.Steps {
		wantTimes, wantShares = append(wantTimes, st.Time, st.Time), append(wantShares, share, st.Share)
		share = st.Share
	}
	wantTimes, wantShares = append(wantTimes, km.Last), append(wantShares, share)
	if start := y.value(line.pts[0].Y); !near(start, 1, 1e-9) || line.pts[0].X >= line.pts[1].X {
		t.Errorf("%s begins at %g", label, start)
	}
	sameValues(t, label+": times", times, wantTimes)
	sameValues(t, label+": shares", shares, wantShares)
}

func readCensored(
	t *testing.T, label string, plot *recorder, style mark, x, y scale, lives []stats.Lifetime, km *stats.Survival,
) {
	t.Helper()
	var got, want []float64
	for _, m := range plot.all("line", style.color) {
		if m.width != 1.2 || len(m.pts) != 2 || m.pts[0].X != m.pts[1].X || len(m.dashes) > 0 {
			continue
		}
		got = append(got, x.value(m.pts[0].X))
		if at := y.value(m.centre().Y); !near(at, km.At(got[len(got)-1]), 1e-6) {
			t.Errorf("%s: a censored trial is marked at %g", label, at)
		}
	}
	for _, l := range lives {
		if l.Censored {
			want = append(want, l.Time)
		}
	}
	sameValues(t, label+": censored", got, want)
}

func readBand(t *testing.T, label string, plot *recorder, style mark, x, y scale, km *stats.Survival, drawn bool) {
	t.Helper()
	band := style.color
	band.A = 40
	var got, want []float64
	for _, m := range plot.all("fill", band) {
		b := m.bounds()
		got = append(got, x.value(b.Min.X), x.value(b.Max.X), y.value(b.Min.Y), y.value(b.Max.Y))
	}
	for i, st := range km.Steps {
		if st.CI == nil || !drawn {
			continue
		}
		to := km.Last
		if i+1 < len(km.Steps) {
			to = km.Steps[i+1].Time
		}
		want = append(want, st.Time, to, st.CI.Lo, st.CI.Hi)
	}
	sameValues(t, label+": band", got, want)
}

// readLimits fails unless each threshold of Linux that was not measured has a line and a
// name.
func readLimits(t *testing.T, plot *recorder, x scale, curves map[string][]stats.Lifetime) {
	t.Helper()
	var want []float64
	for name, ms := range map[string]float64{"soft-lockup": 20e3, "rcu-stall": 21e3, "hung-task": 120e3} {
		if curves["guest's "+name] != nil {
			continue
		}
		want = append(want, ms)
		title := strings.Replace(strings.Replace(name, "-", " ", 1), "rcu stall", "RCU stall", 1)
		at := plot.text(t, title).bounds()
		beside := min(abs(x.at(ms)-at.Max.X), abs(at.Min.X-x.at(ms)))
		if beside > 6 || at.Min.X < x.at(ms) && at.Max.X > x.at(ms) {
			t.Errorf("the name of %s is at %g to %g, its line at %g", name, at.Min.X, at.Max.X, x.at(ms))
		}
	}
	sameValues(t, "limits", plot.uprights(x, breakLine.Color, breakLine.Width), want)
}

func abs(x vg.Length) vg.Length { return max(x, -x) }

// TestSurvivalCensored: a miss is a tick at the end of a curve that never comes down, not
// a detection.
func TestSurvivalCensored(t *testing.T) {
	t.Parallel()
	f := theShape(t, "blind").figure(t, "survival")
	if !strings.Contains(f.Caption(), "exec-step: 0 of 2 detected.") {
		t.Error(f.Caption())
	}
	for _, row := range f.values[1:] {
		if row[2] != "3000" || row[4] != "0" || row[6] != "1" {
			t.Errorf("row %q", row)
		}
	}
}

// TestSurvivalOthers: an observer of controls only has no curve, and was not absent.
func TestSurvivalOthers(t *testing.T) {
	t.Parallel()
	f := theShape(t, "others").figure(t, "survival")
	for _, want := range []string{"Xen's watchdog: 0 of 6 detected", "another-program: 0 of 6 detected",
		"guest's soft-lockup: 6 of 6 detected", "Not in these guests, or off: hard-lockup."} {
		if !strings.Contains(f.Caption(), want) {
			t.Errorf("the caption does not say %q:\n%s", want, f.Caption())
		}
	}
	if strings.Contains(f.Caption(), "rcu-stall") {
		t.Errorf("rcu-stall watched no fault: %s", f.Caption())
	}
}

// TestSurvivalWatchdogs: the guest's own watchdogs have curves where they were measured,
// and a threshold only where they were not.
func TestSurvivalWatchdogs(t *testing.T) {
	t.Parallel()
	f := theShape(t, "listened").figure(t, "survival")
	all := fmt.Sprint(f.values)
	for _, want := range []string{"[lab guest's soft-lockup 21500 9 3 0 0.66", "[lab guest's rcu-stall 23500 9 1 0 ",
		"[lab guest's hung-task 24500  0 1 1  ]"} {
		if !strings.Contains(all, want) {
			t.Errorf("the values have no %q:\n%s", want, all)
		}
	}
	for _, want := range []string{"guest's soft-lockup: 9 of 9 detected, half of them by 22500.0 ms",
		"Not in these guests, or off: hard-lockup."} {
		if !strings.Contains(f.Caption(), want) {
			t.Errorf("the caption does not say %q:\n%s", want, f.Caption())
		}
	}
	if strings.Contains(f.Caption(), "not measured here") {
		t.Errorf("all watchdogs were measured: %s", f.Caption())
	}
}
