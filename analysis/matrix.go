package analysis

import (
	"cmp"
	"slices"
	"strings"

	"hangbench/results"
)

// Matrix is cells in two dimensions: a row for each scenario and guest, a column
// for each way of watching.
type Matrix struct {
	Arms []string // mechanisms, with the driver where the set has several; none before the others
	Rows []MatrixRow
}

// MatrixRow is the cells of one scenario with one guest.
type MatrixRow struct {
	// Title is the scenario, with what tells the row from others of the same
	// scenario: the guest where the set has several, and thresholds that were set.
	Title string
	Cells []*Cell // one for each arm of the matrix; nil where there is none
}

// Matrix lays out the cells that keep wants, in the order of the set.
func (s *Set) Matrix(keep func(*Cell) bool) Matrix {
	var m Matrix
	kept := slices.DeleteFunc(slices.Clone(s.Cells), func(c *Cell) bool { return !keep(c) })
	for _, c := range kept {
		m.Arms = addName(m.Arms, s.watch(c.Cell))
	}
	slices.SortStableFunc(m.Arms, func(a, b string) int {
		return cmp.Or(-cmp.Compare(without(a), without(b)), cmp.Compare(a, b))
	})
	row := make(map[string]int)
	for _, c := range kept {
		title := s.rowTitle(c)
		i, ok := row[title]
		if !ok {
			i = len(m.Rows)
			row[title] = i
			m.Rows = append(m.Rows, MatrixRow{title, make([]*Cell, len(m.Arms))})
		}
		m.Rows[i].Cells[slices.Index(m.Arms, s.watch(c.Cell))] = c
	}
	return m
}

// without is 1 for an arm without a monitor.
func without(arm string) int {
	if arm == results.Unwatched || strings.HasPrefix(arm, results.Unwatched+"/") {
		return 1
	}
	return 0
}

// rowTitle names the facts that all cells of a row share.
func (s *Set) rowTitle(c *Cell) string {
	title := c.Title() + s.guestNote(c.Cell)
	if c.Thresholds != "" {
		title += ", " + string(c.Thresholds)
	}
	return title
}
