package analysis

import (
	"slices"
	"testing"

	"hangbench/results"

	"hangbench/analysis/internal/madeup"
)

// TestMatrix: every cell that is wanted is in one place, whatever tells it from
// the others, and what nobody ran is left empty.
func TestMatrix(t *testing.T) {
	trials := madeup.Trials(6)
	for i := range trials {
		switch tr := &trials[i]; tr.Block {
		case 1:
			tr.VCPUs = 2
		case 2:
			tr.Driver = "libvmi"
		case 3:
			tr.Neighbours = 1
		case 4:
			tr.Thresholds = results.NewSettings(map[string]int64{"spin_ms": 250})
		case 5:
			tr.BoundedMS = 2000
		}
	}
	set, err := Group(madeup.Run(trials))
	if err != nil {
		t.Fatal(err)
	}
	m := set.Matrix(func(c *Cell) bool { return c.Mechanism != "none" || c.Driver == "libvmi" })
	want := []string{"none/libvmi", "exec-altp2m/libvmi", "exec-altp2m/xenctrl", "exec-step/libvmi", "exec-step/xenctrl"}
	if !slices.Equal(m.Arms, want) {
		t.Errorf("arms %q, want %q", m.Arms, want)
	}
	times := make(map[*Cell]int)
	var titles []string
	for _, row := range m.Rows {
		if len(row.Cells) != len(m.Arms) {
			t.Fatalf("%s: %d cells for %d arms", row.Title, len(row.Cells), len(m.Arms))
		}
		titles = append(titles, row.Title)
		for i, c := range row.Cells {
			if c == nil {
				continue
			}
			times[c]++
			if got := c.Mechanism + "/" + c.Driver; got != m.Arms[i] {
				t.Errorf("%s: a cell of %s stands under %s", row.Title, got, m.Arms[i])
			}
		}
	}
	for _, c := range set.Cells {
		wanted := 1
		if c.Mechanism == "none" && c.Driver == "xenctrl" {
			wanted = 0
		}
		if times[c] != wanted {
			t.Errorf("%s, %s: %d times in the matrix, want %d", c.Title(), c.Label, times[c], wanted)
		}
	}
	slices.Sort(titles)
	if compact := slices.Compact(slices.Clone(titles)); len(compact) != len(titles) {
		t.Errorf("rows of equal titles: %q", titles)
	}
	for _, title := range []string{"spinlock-deadlock (1 vCPU)", "spinlock-deadlock (2 vCPU)",
		"spinlock-deadlock (1 vCPU, beside 1 more)", "spinlock-deadlock (1 vCPU), spin_ms 250",
		"spinlock-deadlock, 2 s (1 vCPU)"} {
		if !slices.Contains(titles, title) {
			t.Errorf("no row %q among %q", title, titles)
		}
	}
	if m := set.Matrix(func(*Cell) bool { return false }); len(m.Arms)+len(m.Rows) != 0 {
		t.Errorf("a matrix of nothing has %d arms and %d rows", len(m.Arms), len(m.Rows))
	}
}
