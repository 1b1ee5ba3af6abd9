package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hangbench/analysis"
	"hangbench/analysis/compare"
	"hangbench/analysis/exhibit"
	"hangbench/analysis/table"
	"hangbench/monitor/trap"
	"hangbench/results"
)

// tableMeanings are the columns of the CSV files of single tables: by the name of the
// column, or by table and column where the name means several things.
var tableMeanings = map[string]string{
	"n":                        "valid trials that the row is of",
	"invalid":                  "trials whose ground truth was not confirmed",
	"not_reached":              "trials whose guest never came to the place of the fault",
	"none":                     "trials in which every part of the guest went on as before",
	"slowed":                   "trials in which a part paused for long or did less than half, and went on",
	"failed":                   "trials in which a process ended, and nothing stopped",
	"partial":                  "trials in which parts of the guest stopped and did not go on",
	"full":                     "trials in which all parts stopped and did not go on",
	"crashed":                  "trials in which the guest ended itself",
	"grew":                     "trials of full in which the hang was partial first",
	"partial_covered":          "hangs of parts that had a verdict before the deadline",
	"full_covered":             "full hangs and crashes that had a verdict before the deadline",
	"covered":                  "hangs of all three kinds that had a verdict before the deadline",
	"campaign/right":           "covered hangs whose verdict names a class that the evidence permits",
	"campaign/t_d_ms":          "time from the first part's end by which half had a verdict (Kaplan and Meier)",
	"false_alarms":             "verdicts in trials in which nothing hung and nothing was slowed",
	"slow_alarms":              "verdicts in trials in which a part was slowed",
	"slow_alarms_of":           "trials in which a part was slowed",
	"campaign/early":           "trials with a verdict before the fault: nothing was injected",
	"trial":                    "index of the trial",
	"mistake":                  "missed, wrong class, false alarm, or before the fault",
	"what":                     "what became of the guest",
	"campaign-mistakes/class":  "the class of the verdict",
	"campaign-mistakes/right":  "the classes that the evidence permits",
	"hung_ms":                  "from the fault to the first part's last sign of life",
	"parts":                    "the parts of the guest that stopped, or were slowed",
	"evidence":                 "where the vCPUs without a heartbeat were, and the monitor's evidence",
	"claim":                    "C1 to C5 of EXPERIMENTS.md",
	"says":                     "the claim",
	"verdict":                  "whether it holds in this run, with the numbers",
	"threshold":                "the threshold that is varied",
	"value":                    "its value, in the unit that its name says",
	"faults":                   "valid trials with a fault",
	"detected":                 "of these, trials with a verdict on the fault",
	"called":                   "the classes of the verdicts",
	"t_d_ms":                   "time by which half of the faults were detected (Kaplan and Meier)",
	"alarms":                   "valid trials with a verdict where none is right: controls, faults that end by themselves",
	"alarms_called":            "the classes of these verdicts",
	"exposure_s":               "seconds during which trials without a fault were watched",
	"lambda_m_per_h":           "mistakes an hour, with the exact Poisson interval",
	"outcome":                  "trials with a verdict: detections of a fault, false alarms of a control",
	"class":                    "the classes of the verdicts",
	"detect_ms":                "T_D: from the fault to the verdict, of detected trials",
	"recovered":                "trials whose guest went on after its fault was removed",
	"recovered_of":             "trials whose fault can be removed, and was",
	"progress":                 "the guest's progress rate with the monitor over the rate without",
	"of":                       "valid trials of the cell",
	"back-outs/n":              "trials in which the monitor removed its trap by itself",
	"back_out_ms":              "from the first sign that the monitor held the guest up to the removal of the trap",
	"ours_s":                   "median time in seconds from the fault to the verdict",
	"ours_reports":             "trials with a verdict on the fault",
	"OBSERVER_s":               "median time in seconds from the fault to the observer's first report",
	"OBSERVER_reports":         "trials in which the observer reported the fault",
	"expected_class":           "the class that is right for the fault",
	"coverage/detected":        "trials with a verdict on the fault",
	"right":                    "trials with a verdict of the right class",
	"classes":                  "the classes of the verdicts",
	"early_alarms":             "trials with a verdict before the fault",
	"ARM_n":                    "valid trials of the arm",
	"ARM_verdicts":             "trials with a verdict on the fault",
	"ARM_t_d_median_ms":        "median time from the fault to the verdict",
	"censored":                 "trials without a verdict: T_D is longer than the deadline",
	"latency/n":                "valid trials with the fault",
	"t50_ms":                   "time by which half of the faults were detected (Kaplan and Meier)",
	"t90_ms":                   "time by which 90% of the faults were detected",
	"first_ms":                 "time to the first verdict",
	"last_ms":                  "time to the last verdict",
	"deadline_ms":              "time after which a miss is censored",
	"classes/class":            "the class of EPT violations; `total` is all of them",
	"violations":               "EPT violations of a trial",
	"violations_per_s":         "EPT violations a second of dom0's clock",
	"share":                    "the class's part of the violations of all trials, 0 to 1",
	"overhead_percent":         "(on - off) / off of the time of an operation, in percent",
	"ops_per_s_without_median": "median of operations a second without the monitor",
	"ops_per_s_with_median":    "median of operations a second with the monitor",
	"operation":                "what one operation is",
	"program":                  "what does the operations, with its version",
	"ARM_overhead_percent":     "(on - off) / off of the time of an operation, in percent",
	"events":                   "events delivered to the monitor in a trial",
	"events_per_s":             "events a second of dom0's clock",
	"violations_per_event":     "EPT violations per delivered event",
	"steps_per_event":          "single steps per delivered event",
	"signals_share":            "task switches that the mechanism saw over those that the guest counted",
	"ring_full":                "times the event ring had no free slot, of all trials",
	"trace_lost":               "trace records that the hypervisor dropped, of all trials",
	"controls":                 "valid trials without a fault",
	"mistakes":                 "reports or verdicts in these",
	"lambda_m_bound_per_h":     "one-sided upper 95% bound of mistakes an hour",
	"t_mr_s":                   "mean seconds from one mistake to the next",
	"t_m_s":                    "mean seconds until a mistake is taken back",
	"t_g_s":                    "mean seconds from there to the next mistake",
	"p_a":                      "share of the time without mistake, 0 to 1",
	"early":                    "trials with a report or verdict before the fault",
	"detector":                 "the watchdog",
	"setting":                  "how the watchdogs are set: default, minimum or xen",
	"reported":                 "trials in which it reported the fault",
	"absent":                   "trials in which it was not there, or off",
	"metric":                   "the metric's name, as in comparisons",
	"unit":                     "unit of the value",
	"metrics/value":            "the metric's values; of a share of trials the share is in the median's place",
	"better":                   "which direction is better: higher, lower, or empty",

	"disturbance":                "the control: what is done to the guest",
	"trials_alarmed":             "valid trials with an alarm of the monitor",
	"linux_exposure_s":           "seconds during which the kernel's watchdogs were listened to in these trials",
	"linux_mistakes":             "their reports",
	"linux_lambda_m_per_h":       "their reports an hour, with the exact Poisson interval",
	"linux_lambda_m_bound_per_h": "one-sided upper 95% bound of their reports an hour",

	"n_old":  "trials of the old side that have a value",
	"n_new":  "trials of the new side that have a value",
	"old":    "median of the old side, or its share of trials",
	"new":    "median of the new side, or its share of trials",
	"change": "median ratio of new to old minus 1; of a share of trials the difference",
	"p_holm": "p-value of no change, adjusted by Holm's procedure",
	"method": "`exact pairs`, `pairs`, `samples`, or `none` if one side has no value",

	"compare/verdict": "`better`, `same`, `worse` or `unclear`",
}

// figureMeanings are the columns of the CSV files of figures.
var figureMeanings = map[string]string{
	"panel":                "`violations` or `detection`",
	"mark":                 "what is drawn: `median`, `ci_lo`, `ci_hi`, `part` of a class, or one trial",
	"trial":                "the trial's index; empty if the mark is of several",
	"unit":                 "its unit",
	"threshold":            "the threshold that is varied",
	"sweep/value":          "its value, in the unit that its name says",
	"faults":               "valid trials with a fault",
	"survival/detected":    "faults detected at that time",
	"t_d_s":                "seconds by which half of the faults were detected (Kaplan and Meier)",
	"t_d_ci_lo_s":          "lower end of its 95% interval",
	"t_d_ci_hi_s":          "upper end; empty if the trials do not bound it",
	"quiet":                "valid trials in which no alarm is right",
	"alarms":               "of these, trials with an alarm",
	"alarms_ci_lo_percent": "lower end of the exact 95% interval of the share of alarms",
	"alarms_ci_hi_percent": "upper end of the same interval",
	"time_ms":              "time after the fault",
	"at_risk":              "faults not yet detected before that time; empty for a censored trial",
	"censored_before":      "trials that were censored since the time before",
	"undetected":           "share of faults not detected by then (Kaplan and Meier)",
	"expected_class":       "the class that is right for the fault",
	"valid":                "trials whose ground truth was confirmed",
	"invalid":              "trials whose ground truth was not confirmed",
	"right":                "trials with a verdict of the right class",
	"detected_ci_lo":       "lower end of the exact 95% interval of the share detected",
	"detected_ci_hi":       "upper end of the same interval",
	"measure":              "what is measured",
	"vcpus":                "number of vCPUs of a guest",
	"guests":               "number of guests that were monitored at once",
	"n":                    "trials that have a value",
	"median":               "median of the values",
	"min":                  "smallest value",
	"max":                  "largest value",
	"scaling/ci_lo":        "lower end of the median's order-statistic interval; empty with too few trials",
	"scaling/ci_hi":        "upper end of the same interval",
	"scaling-guests/ci_lo": "as for `scaling`",
	"scaling-guests/ci_hi": "as for `scaling`",
	"from_s":               "begin of the interval in seconds; the fault is at 0",
	"to_s":                 "its end",
	"switches_per_s":       "task switches of the guest a second, by its own count; empty if unreadable",
	"signals_per_s":        "task switches a second that the mechanism saw",
	"ept_permission_per_s": "EPT violations a second on the trapped frame; empty if not traced",
	"ept_lazy_per_s":       "EPT violations a second that filled an altp2m view",
	"ept_other_per_s":      "all other EPT violations a second",
	"vcpuN_run_share":      "share of the interval in which vCPU N ran, 0 to 1; one column for each vCPU",
	"overview/mark":        "`median`, `part` of a class, `trial`, `detected`, or `missed at deadline`",
	"coverage/detected":    "of the valid ones, trials with a verdict on the fault",
	"sweep/detected":       "of these, trials with a verdict on the fault",
	"overhead/value":       "the value drawn: (on - off) / off of the time of an operation",
	"violations/value":     "the value drawn: EPT violations a second of dom0's clock",
	"overview/value":       "the value drawn",
	"survival/ci_lo":       "lower end of its 95% interval by Greenwood's formula",
	"survival/ci_hi":       "upper end of the same interval",
	"overview/unit":        "`violations` or `ms`",
}

// columnEndings are columns that belong together, by the ends of their names.
var columnEndings = []struct {
	ends []string
	note string
}{
	{[]string{"_n", "_median", "_min", "_max", "_ci_lo", "_ci_hi", "_ci_confidence"}, "spread"},
	{[]string{"", "_of", "_ci_lo", "_ci_hi"}, "rate"},
	{[]string{"", "_ci_lo", "_ci_hi"}, "interval"},
}

// column is a column of a CSV file, or several that belong together.
type column struct{ base, kind string }

// grouped puts columns together that belong together.
func grouped(head []string) []column {
	var all []column
next:
	for len(head) > 0 {
		for _, e := range columnEndings {
			base, ok := strings.CutSuffix(head[0], e.ends[0])
			for i, end := range e.ends {
				ok = ok && i < len(head) && head[i] == base+end
			}
			if ok {
				all, head = append(all, column{base, e.note}), head[len(e.ends):]
				continue next
			}
		}
		all, head = append(all, column{head[0], ""}), head[1:]
	}
	return all
}

// general replaces what is a name in columns by what it stands for, and leaves each
// column that is then there twice out.
func general(head, observers []string) []string {
	var all []string
	for _, name := range head {
		first, rest, ok := strings.Cut(name, "_")
		if _, err := trap.Find(first); ok && err == nil {
			name = "ARM_" + rest
		}
		if ok && slices.Contains(observers, first) {
			name = "OBSERVER_" + rest
		}
		name = regexp.MustCompile(`^vcpu[0-9]+_`).ReplaceAllString(name, "vcpuN_")
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// csvHead is the first line of what write writes.
func csvHead(t *testing.T, write func(io.Writer) error) []string {
	t.Helper()
	var out bytes.Buffer
	if err := write(&out); err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(out.String(), "\n")
	return strings.Split(line, ",")
}

// columnRows are the rows of a schema page: those of one file.
func columnRows(t *testing.T, file string, head []string, meanings map[string]string, used map[string]bool) string {
	t.Helper()
	var b strings.Builder
	medians := make(map[string]string) // by column
	for _, m := range analysis.Metrics() {
		medians[m.Column+"_median"] = "median of: " + m.Meaning
	}
	for _, c := range grouped(head) {
		switch c.base {
		case "host":
			continue
		case "scenario", "mechanism", "arm", "invalid": // the page says them once
			used[c.base] = true
			continue
		}
		key := file + "/" + c.base
		if meanings[key] == "" {
			key = c.base
		}
		used[key] = true
		meaning := meanings[key]
		if meaning == "" {
			meaning = medians[c.base]
		}
		if meaning == "" {
			t.Errorf("nothing says what column %s of %s means", c.base, file)
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", file, c.base, c.kind, meaning)
	}
	return b.String()
}

// endingsText is about columns that belong together.
const endingsText = "A column of the kind *spread* stands for seven, whose names end in `_n` (values), " +
	"`_median`,\n`_min`, `_max`, `_ci_lo`, `_ci_hi`" +
	` (order-statistic interval of the median; empty with too few trials)
and ` + "`_ci_confidence`. A *rate* stands for four: the count, `_of`" + ` (of how many), and the exact 95% interval of
Clopper and Pearson, ` + "`_ci_lo` and `_ci_hi`" + `. An *interval* stands for three: the estimate and its 95% interval,
` + "`_ci_lo` and `_ci_hi`" + `. An empty field means that there is no value. An empty upper end of an interval means
that the trials do not bound it.

`

// commonText is about columns that nearly all files have.
const commonText = "Not listed below are `host`, `scenario` (with the length of its fault if that is bounded), " +
	"`invalid` (trials whose\n" +
	"ground truth was not confirmed), and `mechanism` or `arm` (mechanism, and driver, guest and " +
	"thresholds where the run\n" +
	"has several). If the run is not whole, two more columns are the last of each file but that of a " +
	"comparison:\n" +
	"`trials_missing`, planned trials without a record, and `records_damaged`, records left out.\n\n"

// TestSchemaColumns: a page says of every column of the CSV file of every single table and
// of a comparison what it means, and another page does so for figures. With -update they
// are written anew. A column without a meaning is an error, and so is a meaning without a
// column.
func TestSchemaColumns(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..", "results", "reference")
	var sets []*analysis.Set
	var observers []string
	for _, name := range []string{"paper", "soak", "thresholds", "overhead"} {
		run, err := results.ReadRun(filepath.Join(root, name), nil)
		if err != nil {
			t.Fatal(err)
		}
		set, err := analysis.Group(run)
		if err != nil {
			t.Fatal(err)
		}
		sets, observers = append(sets, set), append(observers, set.Observers()...)
	}
	sets = append(sets, besideOthers(t, filepath.Join(root, "paper")))
	var tables, campaign, figures strings.Builder
	usedTables, usedFigures := make(map[string]bool), make(map[string]bool)
	seen := make(map[string]bool)
	for _, e := range exhibit.All() {
		for i, set := range sets {
			if e.Table != nil {
				made, err := e.Table(set)
				if err != nil {
					t.Fatal(err)
				}
				if len(made.Rows) == 0 && i < len(sets)-1 {
					continue
				}
				head := csvHead(t, func(w io.Writer) error { return made.WriteCSV(w, [2]string{"host", set.Host}) })
				page := &tables
				if strings.HasPrefix(e.Name, "campaign") {
					page = &campaign
				}
				page.WriteString(columnRows(t, e.Name, general(head, observers), tableMeanings, usedTables))
				break
			}
			f, err := e.Figure(set)
			if err != nil {
				t.Fatal(err)
			}
			if f != nil {
				seen[e.Name] = true
				figures.WriteString(columnRows(t, e.Name, general(csvHead(t, f.WriteCSV), nil), figureMeanings, usedFigures))
				break
			}
		}
		if e.Figure != nil && !seen[e.Name] {
			t.Errorf("no committed run has the data for the figure %s", e.Name)
		}
	}
	comparison := (&compare.Report{}).Table(true)
	tables.WriteString(columnRows(t, "compare", csvHead(t, func(w io.Writer) error {
		return comparison.Write(w, table.CSV)
	}), tableMeanings, usedTables))
	stream, err := os.ReadFile(filepath.Join(root, "timeline", "timeline.csv"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(stream), "\n")
	figures.WriteString(columnRows(t, "timeline", general(strings.Split(line, ","), nil), figureMeanings, usedFigures))
	for what, meanings := range map[string]map[string]string{"table": tableMeanings, "figure": figureMeanings} {
		for key := range meanings {
			if !usedTables[key] && what == "table" || !usedFigures[key] && what == "figure" {
				t.Errorf("no %s has the column %s", what, key)
			}
		}
	}

	const head = "# %s\n\n* Shows: %s\n* Command: `go test ./bench/cli -run Schema -update` writes this page.\n" +
		"* Records: %s\n\n"
	checkPage(t, "schema-tables.md", fmt.Sprintf(head, "Columns of single tables",
		"what each column of `bin/hangbench report RUN --tables TABLE --format csv` means, and of\n"+
			"  `bin/hangbench compare OLD NEW --format csv`.", "[`reference`](../reference/paper) has runs to try it on.")+
		endingsText+commonText+
		"ARM stands for the name of an arm, OBSERVER for that of an observer: each has columns of its own.\n\n"+
		"| table | column | kind | meaning |\n|---|---|---|---|\n"+tables.String())
	checkPage(t, "schema-campaign.md", fmt.Sprintf(head, "Columns of a campaign's tables",
		"what each column of `bin/hangbench report RUN --tables campaign --format csv` means, and of\n"+
			"  `campaign-mistakes`.",
		"[`reference/paper`](../reference/paper) has no campaign: these tables have no rows there.")+endingsText+commonText+
		"| table | column | kind | meaning |\n|---|---|---|---|\n"+campaign.String())
	checkPage(t, "schema-figures.md", fmt.Sprintf(head, "Columns beside figures",
		"what each column of the CSV file beside a figure means, as in `overview.csv`.",
		"[`reference/paper`](../reference/paper) has some.")+
		"An empty field means that there is no value.\n\n"+commonText+
		"| figure | column | kind | meaning |\n|---|---|---|---|\n"+figures.String())
}

// besideOthers is a set of a committed run's trials, and of the same with another guest
// beside theirs, which no committed run has.
func besideOthers(t *testing.T, dir string) *analysis.Set {
	t.Helper()
	run, err := results.ReadRun(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tr := range slices.Clone(run.Trials) {
		tr.Neighbours = 1
		run.Trials = append(run.Trials, tr)
	}
	set, err := analysis.Group(run)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// checkPage compares a page of the results with what it is to say, or writes it.
func checkPage(t *testing.T, name, want string) {
	t.Helper()
	want = strings.Join(brokenAt(120, strings.Split(want, "\n")), "\n")
	path := filepath.Join("..", "..", "results", "reports", name)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
		return
	}
	if string(got) != want {
		t.Errorf("%s is not what the types say; go test -update writes it anew:\n%s", name, want)
	}
}
