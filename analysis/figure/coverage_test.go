package figure

import (
	"fmt"
	"slices"
	"testing"

	"gonum.org/v1/plot/vg"

	"hangbench/results"
)

// TestReadCoverage reads the heat map.
func TestReadCoverage(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"many", "wrong", "hollow", "drivers", "vcpus", "faults"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := theShape(t, name)
			r := record(t, s.figure(t, "coverage"))
			cells := 0
			for _, c := range s.set.Cells {
				if !c.Fault || !c.Watched() {
					continue
				}
				cells++
				right := 0
				for _, tr := range c.Trials {
					if tr.Outcome == results.Detected && tr.Class == tr.Expected {
						right++
					}
				}
				at := vg.Point{X: r.text(t, c.Label).pts[0].X, Y: r.text(t, c.Title()+" ("+c.Expected()+")").centre().Y}
				square := r.in(at.X-10, at.Y-9, at.X+15, at.Y+9)
				if c.Counts.Valid == 0 {
					if n := len(square.all("line", lightGrey)); n != 3 || len(square.marks) != 3 {
						t.Errorf("%s of %s: %d marks, %d lines, want a frame and a cross", c.Title(), c.Label, len(square.marks), n)
					}
					continue
				}
				var texts []string
				for _, m := range square.texts(func(string) bool { return true }) {
					texts = append(texts, m.text)
				}
				want := []string{fmt.Sprintf("%d/%d", c.Counts.Detected, c.Counts.Valid)}
				if right != c.Counts.Detected {
					want = append(want, fmt.Sprintf("%d right", right))
				}
				if !slices.Equal(texts, want) {
					t.Errorf("%s of %s reads %q, want %q", c.Title(), c.Label, texts, want)
				}
				fill := shade(float64(right) / float64(c.Counts.Valid))
				if n := len(square.all("fill", fill)); n != 1 {
					t.Errorf("%s of %s has %d fills of %v", c.Title(), c.Label, n, fill)
				}
			}
			if cells == 0 {
				t.Fatal("there is no fault")
			}
			// The legend shows the fills from none to all.
			none, all := r.text(t, "called by its class: none"), r.text(t, "all;  k/n: detected of valid trials")
			legend := r.in(none.pts[1].X, none.pts[0].Y-3, all.pts[0].X, none.pts[0].Y+9)
			first, last := legend.marks[0], legend.marks[len(legend.marks)-1]
			if len(legend.marks) != 20 || first.color != shade(0) || last.color != shade(1) {
				t.Errorf("the legend has %d fills, from %v to %v", len(legend.marks), first, last)
			}
			for i, m := range legend.marks[1:] {
				if m.bounds().Min.X != legend.marks[i].bounds().Max.X {
					t.Errorf("the legend has a gap before %v", m)
				}
			}
		})
	}
}
