package report

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"hangbench/analysis"
	"hangbench/analysis/stats"
	"hangbench/analysis/table"
	"hangbench/results"
)

// fact is one part of the answer: a question, the number that answers it, and its meaning.
type fact struct {
	Question string
	Figure   string
	Text     []string
}

// answer returns the results of the run in short.
func answer(set *analysis.Set) ([]fact, error) {
	var facts []fact
	questions := []func(*analysis.Set) (*fact, error){detected, speed, alarms, price, altp2m}
	if len(set.Swept()) > 0 {
		// Detection and speed differ by threshold.
		questions = []func(*analysis.Set) (*fact, error){swept, price, altp2m}
	}
	for _, f := range questions {
		one, err := f(set)
		if err != nil {
			return nil, err
		}
		if one != nil {
			facts = append(facts, *one)
		}
	}
	return facts, nil
}

// swept tells for every threshold from which value on there was no false alarm, and how
// late verdicts are with that value.
func swept(set *analysis.Set) (*fact, error) {
	f := &fact{Question: "Which threshold?"}
	values := 0
	for _, name := range set.Swept() {
		points, err := set.Sweep(name, table.Level)
		if err != nil {
			return nil, err
		}
		values += len(points)
		for i := 0; i < len(points); {
			n := i // end of this arm's points
			for n < len(points) && points[n].Arm == points[i].Arm {
				n++
			}
			text, err := quietFrom(name, points[i:n])
			if err != nil {
				return nil, err
			}
			if n-i < len(points) {
				text = points[i].Arm + ", " + text
			}
			f.Text = append(f.Text, text)
			i = n
		}
	}
	f.Figure = analysis.Count(values, "value") + " of " + analysis.Count(len(set.Swept()), "threshold")
	f.Text = append(f.Text, clock(set))
	return f, nil
}

// quietFrom tells from which value of the threshold on there was no false alarm. points
// are sorted by value.
func quietFrom(name string, points []analysis.SweepPoint) (string, error) {
	at := func(p analysis.SweepPoint) (string, error) {
		if len(p.Lives) == 0 {
			return "", nil
		}
		s, err := stats.KaplanMeier(p.Lives, table.Level)
		if err != nil {
			return "", err
		}
		if q, ok := s.Quantile(0.5); ok {
			return ", half of the faults by " + duration(q.Time), nil
		}
		return fmt.Sprintf(", %d of %d faults detected", s.Events, s.N), nil
	}
	from := len(points)
	for from > 0 && points[from-1].Alarms == 0 && points[from-1].N > 0 {
		from--
	}
	text := name + ": alarms with every value"
	if from < len(points) {
		time, err := at(points[from])
		if err != nil {
			return "", err
		}
		text = fmt.Sprintf("%s: no alarm from %d on (0 of %d)%s", name, points[from].Value, points[from].N, time)
	}
	if from > 0 {
		p := points[from-1]
		time, err := at(p)
		if err != nil {
			return "", err
		}
		text += fmt.Sprintf("; with %d %d of %d%s", p.Value, p.Alarms, p.N, time)
	}
	return text, nil
}

// arms are the labels of the monitored cells that pick selects, sorted.
func arms(set *analysis.Set, pick func(*analysis.Cell) bool) []string {
	var labels []string
	for _, c := range set.Cells {
		if c.Arm.Watched() && pick(c) && !slices.Contains(labels, c.Label) {
			labels = append(labels, c.Label)
		}
	}
	slices.Sort(labels)
	return labels
}

func isFault(c *analysis.Cell) bool { return c.Fault && c.Counts.Valid > 0 }

func detected(set *analysis.Set) (*fact, error) {
	labels := arms(set, isFault)
	if len(labels) == 0 {
		return nil, nil
	}
	f := &fact{Question: "What was detected?"}
	k, n, right := 0, 0, 0
	var missed []string
	for _, label := range labels {
		ki, ni, ri := 0, 0, 0
		for _, c := range set.Cells {
			if c.Label != label || !isFault(c) {
				continue
			}
			ki, ni, ri = ki+c.Counts.Detected, ni+c.Counts.Valid, ri+c.Right()
			if c.Counts.Missed > 0 {
				missed = append(missed, fmt.Sprintf("%s by %s (%d of %d)", c.Title(), label, c.Counts.Missed, c.Counts.Valid))
			}
		}
		iv, err := stats.ClopperPearson(ki, ni, table.Level)
		if err != nil {
			return nil, err
		}
		if len(labels) > 1 {
			f.Text = append(f.Text, fmt.Sprintf("%s: %d of %d [%.0f%%, %.0f%%]", label, ki, ni, 100*iv.Lo, 100*iv.Hi))
		}
		k, n, right = k+ki, n+ni, right+ri
	}
	iv, err := stats.ClopperPearson(k, n, table.Level)
	if err != nil {
		return nil, err
	}
	f.Figure = fmt.Sprintf("%d of %d hangs", k, n)
	were := "were"
	if right == 1 {
		were = "was"
	}
	first := fmt.Sprintf("95%% interval of the rate: %.0f%% to %.0f%%; %d %s called by the right class.", 100*iv.Lo,
		100*iv.Hi, right, were)
	f.Text = append([]string{first}, f.Text...)
	unwatched := 0
	for _, c := range set.Cells {
		if c.Fault && !c.Arm.Watched() {
			unwatched += c.Counts.Valid
		}
	}
	if unwatched > 0 {
		f.Text = append(f.Text, "Not counted: "+analysis.Count(unwatched, "hang")+" without a monitor.")
	}
	if len(missed) > 0 {
		const most = 4
		more := ""
		if len(missed) > most {
			more = fmt.Sprintf(" and %d more", len(missed)-most)
			missed = missed[:most]
		}
		f.Text = append(f.Text, "Missed: "+strings.Join(missed, ", ")+more+".")
	}
	return f, nil
}

func speed(set *analysis.Set) (*fact, error) {
	labels := arms(set, isFault)
	var all []stats.Lifetime
	f := &fact{Question: "How fast?"}
	for _, label := range labels {
		var lives []stats.Lifetime
		for _, c := range set.Cells {
			if c.Label == label && isFault(c) {
				lives = append(lives, c.Lifetimes()...)
			}
		}
		if len(lives) == 0 {
			continue
		}
		all = append(all, lives...)
		s, err := stats.KaplanMeier(lives, table.Level)
		if err != nil {
			return nil, err
		}
		if len(labels) > 1 {
			f.Text = append(f.Text, label+": "+half(s))
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	s, err := stats.KaplanMeier(all, table.Level)
	if err != nil {
		return nil, err
	}
	f.Figure = "fewer than half"
	if q, ok := s.Quantile(0.5); ok {
		f.Figure = "half by " + duration(q.Time)
	}
	if n := len(s.Steps); n > 0 {
		text := fmt.Sprintf("From the fault to the verdict, misses censored; the first by %s, the last by %s.",
			duration(s.Steps[0].Time), duration(s.Steps[n-1].Time))
		f.Text = append([]string{text}, f.Text...)
	}
	f.Text = append(f.Text, clock(set))
	return f, nil
}

func half(s *stats.Survival) string {
	q, ok := s.Quantile(0.5)
	if !ok {
		return fmt.Sprintf("fewer than half detected (%d of %d)", s.Events, s.N)
	}
	hi := "∞"
	if !math.IsInf(q.Hi, 1) {
		hi = duration(q.Hi)
	}
	return fmt.Sprintf("half by %s [%s, %s], n = %d", duration(q.Time), duration(q.Lo), hi, s.N)
}

func clock(set *analysis.Set) string {
	if set.Host == results.Lab {
		return "Virtual time of an emulated machine: to compare with other lab times, not with hardware."
	}
	return "Time of this machine."
}

// duration is a time in milliseconds in the unit that suits it.
func duration(ms float64) string {
	if ms >= 1000 {
		return fmt.Sprintf("%.2f s", ms/1000)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

func alarms(set *analysis.Set) (*fact, error) {
	all, err := set.Accuracies(table.Level)
	if err != nil {
		return nil, err
	}
	f := &fact{Question: "False alarms?"}
	k, n, early := 0, 0, 0
	seconds := 0.0
	for _, a := range all {
		early += a.Early
		if a.QoS == nil {
			continue
		}
		k, n, seconds = k+a.Alarms, n+a.Controls, seconds+a.QoS.Exposure
		if len(all) > 1 {
			f.Text = append(f.Text, fmt.Sprintf("%s: %d in %.0f s", a.Label, a.Alarms, a.QoS.Exposure))
		}
	}
	if n == 0 {
		return nil, nil
	}
	upper, err := stats.PoissonUpper(k, seconds, table.Level)
	if err != nil {
		return nil, err
	}
	f.Figure = fmt.Sprintf("%d in %.0f s", k, seconds)
	f.Text = append([]string{fmt.Sprintf("In %s without a fault. The rate is below %s an hour with 95%% "+
		"confidence: the shorter the watch, the weaker the bound.", analysis.Count(n, "trial"),
		analysis.Significant(3600*upper))}, f.Text...)
	if early > 0 {
		f.Text = append(f.Text, fmt.Sprintf("%d more came before the fault of a trial with one.", early))
	}
	return f, nil
}

func price(set *analysis.Set) (*fact, error) {
	f := &fact{Question: "At what price?"}
	worst, at := 2.0, ""
	traced := false // in one window and not in the other, as in trials without a workload
	for _, label := range arms(set, func(c *analysis.Cell) bool { return len(c.Values(analysis.Progress.Of)) > 0 }) {
		var medians []float64
		for _, c := range set.Cells {
			if c.Label != label {
				continue
			}
			m, ok := stats.Median(c.Values(analysis.Progress.Of))
			if !ok {
				continue
			}
			medians = append(medians, m)
			if op, _ := c.Work(); op == "" {
				traced = true
			}
			if m < worst {
				worst, at = m, c.Title()+", "+label
			}
		}
		lo, hi := slices.Min(medians), slices.Max(medians)
		text := fmt.Sprintf("%s: %s to %s of the guest's pace, medians of %d scenarios", label, percent(lo), percent(hi),
			len(medians))
		if len(medians) == 1 {
			text = fmt.Sprintf("%s: %s of the guest's pace", label, percent(lo))
		}
		f.Text = append(f.Text, text)
	}
	if at == "" {
		return nil, nil
	}
	f.Figure = percent(worst) + " of the pace"
	says := "That is the guest's progress where a monitor cost most: " + at + "."
	if traced {
		says += " The trace of EPT violations is part of the price."
	}
	f.Text = append([]string{says}, f.Text...)
	return f, nil
}

func percent(x float64) string { return fmt.Sprintf("%.0f%%", 100*x) }

// altp2m compares mechanisms that differ in nothing but the view.
func altp2m(set *analysis.Set) (*fact, error) {
	f := &fact{Question: "What did altp2m change?"}
	for _, name := range slices.Sorted(maps.Keys(set.Arms)) {
		twin := set.Arms[name].TwinOf
		if twin == "" {
			continue
		}
		for _, m := range []struct {
			what    string
			measure analysis.Measure
		}{{"EPT violations of a trial", analysis.EPTTotal.Of}, {"violations of an event", analysis.PerEvent.Of},
			{"progress", analysis.Progress.Of}} {
			s, err := stats.PairedRatio(set.TwinPairs(name, m.measure), table.Level)
			if err != nil {
				continue // no pair of both
			}
			text := fmt.Sprintf("%s over %s: %s ×%s", name, twin, m.what, analysis.Significant(s.Median))
			switch {
			case s.CI != nil:
				text += fmt.Sprintf(" [%s, %s]", analysis.Significant(s.CI.Lo), analysis.Significant(s.CI.Hi))
			case s.N > 1:
				text += fmt.Sprintf(" [%s..%s]", analysis.Significant(s.Min), analysis.Significant(s.Max))
			}
			if f.Figure == "" {
				f.Figure = "×" + analysis.Significant(s.Median) + " EPT violations"
			}
			f.Text = append(f.Text, text+", "+analysis.Count(s.N, "pair"))
		}
	}
	if f.Figure == "" {
		return nil, nil
	}
	f.Text = append(f.Text, "Trials of one scenario and block, with the trap in the host view and in a view of its own; "+
		"1 is no change.")
	return f, nil
}
