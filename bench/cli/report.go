package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"hangbench/analysis"
	"hangbench/analysis/exhibit"
	"hangbench/analysis/report"
	"hangbench/analysis/table"
	"hangbench/bench/exit"
	"hangbench/bench/progress"
	"hangbench/results"
	"hangbench/results/printable"
)

// overviewName is the name of the figure whose files are in the run's folder itself.
const overviewName = "overview"

// reportFlags say what "report" prints.
type reportFlags struct{ format, tables string }

func (a *app) reportCommand() *cobra.Command {
	c := a.command("report RUN", "print a run's tables and draw its figures again",
		"Print a run's tables, draw its figures and write its report; RUN is its folder.", 1, 1)
	var f reportFlags
	c.Flags().StringVar(&f.format, "format", "text",
		"`FORMAT` of the tables: text, md, csv or latex; only text draws figures too")
	c.Flags().StringVar(&f.tables, "tables", "",
		"`LIST` of the tables to print instead of the usual two, and nothing else: all, or some of "+
			strings.Join(tableNames(), ", "))
	c.ValidArgsFunction = once(completeRuns)
	completeFlag(c, "format", choices(formats...))
	completeFlag(c, "tables", lists(append(tableNames(), "all")...))
	c.RunE = func(c *cobra.Command, args []string) error { return f.run(c.Context(), a, args[0]) }
	return c
}

// formats are the formats of tables.
var formats = []string{"text", "md", "csv", "latex"}

func (f *reportFlags) run(ctx context.Context, a *app, dir string) error {
	tf, err := table.ParseFormat(f.format)
	if err != nil {
		return exit.UsageError{Err: err}
	}
	r, err := readRun(ctx, a, dir)
	if err != nil {
		return err
	}
	if f.tables == "" && tf == table.Terminal {
		return show(ctx, a, a.out, r)
	}
	set, err := analysis.Group(r)
	if err != nil {
		return err
	}
	if f.tables != "" {
		return showTables(a, set, f.tables, tf)
	}
	if tf == table.CSV {
		warnIncomplete(a, set)
	}
	return table.Summary(a.out, set, tf)
}

// warnIncomplete says what the set lacks, for formats that have no place for a note.
func warnIncomplete(a *app, set *analysis.Set) {
	if text := set.Incomplete(); text != "" {
		a.warn("%s", text)
	}
}

// show prints the tables to w, draws the figures and writes the report.
func show(ctx context.Context, a *app, w io.Writer, r *results.Run) error {
	set, err := analysis.Group(r)
	if err != nil {
		return err
	}
	if err := table.Summary(w, set, table.Terminal); err != nil {
		return err
	}
	paths, others, err := drawFigures(ctx, r.Dir, set)
	if err != nil {
		return fmt.Errorf("draw the figures: %w", err)
	}
	page, err := report.Write(r.Dir, r, set)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	var names []string
	for _, p := range append(paths, page) {
		names = append(names, filepath.Base(p))
	}
	if _, err := os.Stat(filepath.Join(r.Dir, progress.FileName)); err == nil {
		names = append(names, progress.FileName)
	}
	if others > 0 {
		names = append(names, figuresDir)
	}
	if n := r.Missing(); n > 0 {
		fmt.Fprintf(w, "\n%d of %d trials are missing.\n", n, r.Manifest.Planned)
	}
	if _, err := os.Stat(filepath.Join(r.Dir, results.SumsFile)); err == nil {
		names = append(names, results.SumsFile)
	}
	fmt.Fprintf(w, "\n%s: %s, %s, %s\n", printable.Line(r.Dir), results.TrialsFile, results.ManifestFile,
		strings.Join(names, ", "))
	return nil
}

// figuresDir is the folder in a run's folder that holds its other figures.
const figuresDir = "figures"

// figurePath is where the files of a figure are in a run's folder, without their endings.
func figurePath(name string) string {
	if name == overviewName {
		return name
	}
	return filepath.Join(figuresDir, name)
}

// drawFigures draws all figures that the run has data for: the overview into the run's
// folder, whose paths it returns, and the others into a folder in it. It also returns the
// number of the others.
func drawFigures(ctx context.Context, run string, set *analysis.Set) (overview []string, others int, err error) {
	figures, err := exhibit.Draw(set)
	if err != nil {
		return nil, 0, err
	}
	for _, f := range figures {
		if ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		dir := filepath.Dir(filepath.Join(run, figurePath(f.Name)))
		if err := makeFolder(dir); err != nil {
			return nil, 0, fmt.Errorf("%w: a folder is to be made there, so move away what is in its place", err)
		}
		paths, err := f.Write(dir)
		if err != nil {
			return nil, 0, err
		}
		if f.Name == overviewName {
			overview = paths
		} else {
			others++
		}
	}
	return overview, others, nil
}

func tableNames() []string {
	var names []string
	for _, e := range exhibit.Tables() {
		names = append(names, e.Name)
	}
	return names
}

// showTables prints the tables named in a list.
func showTables(a *app, set *analysis.Set, list string, f table.Format) error {
	kinds, err := exhibit.Parse(list)
	if err != nil {
		return exit.UsageError{Err: fmt.Errorf("report: %w", err)}
	}
	if f == table.CSV && len(kinds) != 1 {
		return exit.Usagef("report: one CSV is one table, --tables %s are %d", list, len(kinds))
	}
	tables, err := exhibit.Make(set, kinds, list != "all")
	if err != nil {
		return err
	}
	if f == table.CSV {
		warnIncomplete(a, set)
		return tables[0].WriteCSV(a.out, [2]string{"host", set.Host})
	}
	return table.WriteAll(a.out, set.Caption(), tables, f)
}
