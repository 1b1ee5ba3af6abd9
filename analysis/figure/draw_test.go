package figure

import (
	"image/color"
	"math"
	"slices"
	"strings"
	"testing"

	"hangbench/analysis"
)

func TestTicks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		limit float64
		want  string
	}{
		{1, "0 0.2 0.4 0.6 0.8 1"},
		{159, "0 50 100 150"},
		{2000, "0 500 1000 1500 2000"},
		{0.7, "0 0.2 0.4 0.6"},
	} {
		var got []string
		for _, tick := range (ticks{n: 5, limit: tc.limit}).Ticks(0, tc.limit) {
			got = append(got, tick.Label)
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("ticks to %g: %q, want %q", tc.limit, got, tc.want)
		}
	}
}

func TestTimeTicks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		min, max float64
		want     string
	}{
		{0, 8, "0 1 2 3 4 5 6 7 8"},
		{-0.1, 0.65, "-0.1 0 0.1 0.2 0.3 0.4 0.5 0.6"},
		{-0.05, 3, "0 0.5 1 1.5 2 2.5 3"},
		{3, 3.5, "3 3.1 3.2 3.3 3.4 3.5"},
	} {
		var got []string
		for _, tick := range (timeTicks{}).Ticks(tc.min, tc.max) {
			got = append(got, tick.Label)
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("ticks from %g to %g: %q, want %q", tc.min, tc.max, got, tc.want)
		}
	}
}

func TestSeconds(t *testing.T) {
	t.Parallel()
	labels := func(min, max float64) string {
		var labels []string
		last := 0.0
		for _, tick := range (seconds{}).Ticks(min, max) {
			if tick.Value <= last || tick.Value < min || tick.Value > max {
				t.Errorf("tick at %g after %g", tick.Value, last)
			}
			last = tick.Value
			if tick.Label != "" {
				labels = append(labels, tick.Label)
			}
		}
		return strings.Join(labels, ",")
	}
	for _, tc := range []struct {
		min, max float64
		want     string
	}{
		{250, 150e3, "300 ms,1 s,3 s,10 s,30 s,100 s"},
		{300, 1000, "300 ms,1 s"},
		{1, 9999, "1 ms,3 ms,10 ms,30 ms,100 ms,300 ms,1 s,3 s"},
		{1, 10000, "1 ms,10 ms,100 ms,1 s,10 s"},
	} {
		if got := labels(tc.min, tc.max); got != tc.want {
			t.Errorf("labels from %g to %g: %s, want %s", tc.min, tc.max, got, tc.want)
		}
	}
}

// TestShade: the fill darkens with the share, so that it can be read without colour.
func TestShade(t *testing.T) {
	t.Parallel()
	last := math.Inf(1)
	for share := 0.0; share <= 1; share += 0.05 {
		c := shade(share)
		light := 0.2126*float64(c.R) + 0.7152*float64(c.G) + 0.0722*float64(c.B)
		if light >= last {
			t.Errorf("share %g is no darker", share)
		}
		last = light
	}
}

func TestFewer(t *testing.T) {
	t.Parallel()
	if thinned(40) != "" || thinned(41) != "Of more than 40 trials not every one is drawn; the CSV has all.\n" {
		t.Errorf("of 40 trials: %q, of 41: %q", thinned(40), thinned(41))
	}
	for _, n := range []int{0, 1, 39, 40, 41, 80, 81, 1000} {
		points := make([]point, n)
		for i := range points {
			points[i].trial = i
		}
		shown := fewer(points)
		if len(shown) > dotsShown || n <= dotsShown && len(shown) != n || len(shown) < min(n, dotsShown/2) {
			t.Errorf("%d of %d shown", len(shown), n)
		}
		for i := 1; i < len(shown); i++ {
			if shown[i].trial-shown[i-1].trial != shown[1].trial-shown[0].trial {
				t.Errorf("%d points: not evenly taken", n)
			}
		}
	}
}

// TestColors: what is shown side by side has different colours.
func TestColors(t *testing.T) {
	t.Parallel()
	var classes, parts []color.Color
	for _, c := range analysis.EPTClasses() {
		classes = append(classes, classColor(c.Name))
	}
	for _, name := range []string{"hypervisor", "wakeup", "monitor", "kernel", "unknown"} {
		_, _, c := partStyle(name)
		parts = append(parts, c)
	}
	var lines []color.Color
	for i := range 8 {
		lines = append(lines, lineStyle(i, 8).Color)
	}
	for what, colors := range map[string][]color.Color{
		"classes": append(classes, classColor("other")), "parts": parts, "lines": lines,
		"trials": {seenMark.Color, seenRing.Color, missMark.Color, white},
	} {
		for i, c := range colors {
			if slices.Contains(colors[:i], c) {
				t.Errorf("%s: %v is there twice", what, c)
			}
		}
	}
}
