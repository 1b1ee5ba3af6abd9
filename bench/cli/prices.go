package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"hangbench/analysis/figure"
	"hangbench/analysis/table"
	"hangbench/bench/exit"
	"hangbench/bench/price/event"
	"hangbench/bench/price/tables"
)

// mostPrices is the largest number of reports that are set beside each other.
const mostPrices = 20

// benchPrices returns the command that compares prices of events.
func (a *app) benchPrices() *cobra.Command {
	c := a.command("prices FILE...", "set the price of an event on several releases of Xen side by side",
		`Print what an event costs on each of several releases of Xen, or on other builds or hosts of one kind. `+
			`Each FILE is what "bench event --json" has printed. The first is what the others are compared with.`, 1, mostPrices)
	var format, out string
	c.Flags().StringVar(&format, "format", "text", "`FORMAT` of the table: text, md or latex")
	c.Flags().StringVar(&out, "out", "", "write prices.csv, .png, .svg, .pdf and .txt to this `folder`: one event by who "+
		"spends it, on each Xen")
	completeFlag(c, "format", choices("text", "md", "latex"))
	completeFlag(c, "out", folders)
	c.RunE = func(_ *cobra.Command, args []string) error {
		f, err := table.ParseFormat(format)
		if err != nil {
			return exit.UsageError{Err: err}
		}
		if f == table.CSV {
			return exit.Usagef("--format csv: the FILEs have the values; --out writes them as prices.csv")
		}
		reports, err := readPrices(args)
		if err != nil {
			return exit.UsageError{Err: err}
		}
		if err := tables.Prices(reports).Write(a.out, f); err != nil || out == "" {
			return err
		}
		return writeBreakdown(pricesFigure(reports), out)
	}
	return c
}

// readPrices reads reports that can be compared.
func readPrices(files []string) ([]*event.Report, error) {
	var all []*event.Report
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("%w: name a file that \"bench event --json\" has printed", err)
		}
		r, err := event.Read(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(all) > 0 && (r.Host != all[0].Host || r.Driver != all[0].Driver || r.VCPUs != all[0].VCPUs) {
			return nil, fmt.Errorf("%s is of host %s, driver %s, %d vCPU, and %s of %s, %s, %d: name files of one kind", name,
				r.Host, r.Driver, r.VCPUs, files[0], all[0].Host, all[0].Driver, all[0].VCPUs)
		}
		if len(all) > 0 && r.GuestKernel != all[0].GuestKernel {
			return nil, fmt.Errorf("%s is of guest kernel %s, and %s of %s: name files of one kernel", name, r.GuestKernel,
				files[0], all[0].GuestKernel)
		}
		all = append(all, r)
	}
	return all, nil
}

// pricesFigure shows the parts of an event, for each mechanism and Xen.
func pricesFigure(reports []*event.Report) *figure.Breakdown {
	xen := reports[0].Xen
	if len(reports) > 1 {
		xen = "of each bar"
	}
	b := &figure.Breakdown{
		Name: "prices", Host: reports[0].Host, Kernel: reports[0].GuestKernel, Xen: xen,
	}
	for _, m := range event.Mechanisms() {
		for _, r := range reports {
			for _, s := range r.Series {
				if s.Mechanism == m && s.TimedOurs != nil {
					b.Bars = append(b.Bars, breakdownBar(m, r.Xen, s.TimedOurs))
				}
			}
		}
	}
	return b
}

// breakdownBar returns the bar of a loop's mean event.
func breakdownBar(mechanism, label string, s *event.Side) figure.BreakdownBar {
	bar := figure.BreakdownBar{Mechanism: mechanism, Loop: label, Events: s.Events}
	for _, name := range event.PartNames() {
		bar.Parts = append(bar.Parts, figure.BreakdownPart{Name: name, Value: s.Parts[name]})
	}
	return bar
}

// writeBreakdown writes a figure to a folder, which it makes if need be.
func writeBreakdown(b *figure.Breakdown, folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("write the figure: %w", err)
	}
	_, err := b.Figure().Write(folder)
	return err
}
