package tables

import (
	"fmt"
	"slices"

	"hangbench/analysis/table"
	"hangbench/bench/price/event"
)

// Prices renders the price of an event on several releases of Xen, beside that on the
// first. All reports are of one host.
func Prices(reports []*event.Report) *table.Table {
	u := unit(reports[0])
	t := &table.Table{
		Title: fmt.Sprintf("Price of an event on each Xen, guest %s, %d vCPU, host %s, %s", reports[0].GuestKernel,
			reports[0].VCPUs, reports[0].Host, reports[0].Driver),
		Head:    []string{"mechanism", "Xen", "n", u + "/event", "to first", "C loop", "to first", "dom0 " + u, "events/s"},
		Numeric: []bool{false, false, true, true, true, true, true, true, true},
		Notes: []string{
			u + "/event: what an event takes from the guest, that is all time but the guest's own work: median [smallest.." +
				"largest] of n blocks; C loop: the same with a minimal loop in C.",
			"to first: over that on the Xen of the first report; dom0: its CPU time in an event of the monitor.",
			fmt.Sprintf("A block has two windows of %d ms with each loop and two without.", reports[0].WindowMS),
		},
	}
	for _, m := range event.Mechanisms() {
		var first *event.Row
		for _, r := range reports {
			i := slices.IndexFunc(r.Series, func(s event.Series) bool { return s.Mechanism == m })
			if i < 0 {
				continue
			}
			row := &r.Rows[i]
			if first == nil {
				first = row
			}
			ours, c := r.Series[i].Prices()
			perNS := r.PerSecond / 1e9
			t.Rows = append(t.Rows, []string{m, r.Xen, fmt.Sprint(row.N), spread(row.OursInstr, ours, perNS),
				over(row.OursInstr, first.OursInstr), spread(row.CInstr, c, perNS),
				over(row.CInstr, first.CInstr), whole(row.OursDom0Instr), whole(row.EventsPerSec)})
		}
	}
	return t
}

// spread prints a median of cycles with the smallest and the largest of values, which are
// in nanoseconds.
func spread(median float64, values []float64, perNS float64) string {
	return fmt.Sprintf("%.0f [%.0f..%.0f]", median, slices.Min(values)*perNS, slices.Max(values)*perNS)
}

// over prints a quotient, and none if there is nothing to divide by: events may have cost
// less than the error of measuring.
func over(x, by float64) string {
	if by <= 0 {
		return none
	}
	return fmt.Sprintf("%.3f", x/by)
}
