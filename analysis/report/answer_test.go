package report

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hangbench/analysis"
	"hangbench/analysis/internal/madeup"
	"hangbench/cgo/require"
	"hangbench/results"
)

// facts is the answer of the trials by question.
func facts(t *testing.T, trials []results.Trial) map[string]fact {
	t.Helper()
	set, err := analysis.Group(madeup.Run(trials))
	if err != nil {
		t.Fatal(err)
	}
	all, err := answer(set)
	if err != nil {
		t.Fatal(err)
	}
	by := make(map[string]fact)
	for _, f := range all {
		by[f.Question] = f
	}
	if len(by) != len(all) {
		t.Errorf("a question twice in %v", all)
	}
	return by
}

func TestAnswer(t *testing.T) {
	trials := madeup.Trials(8)
	for i := range trials {
		if trials[i].Outcome == results.Detected && trials[i].Block == 0 {
			trials[i].Class = "hard"
		}
	}
	by := facts(t, trials)
	for _, tc := range []struct {
		question, figure string
		text             []string
	}{
		{"What was detected?", "15 of 16 hangs", []string{"13 were called by the right class",
			"exec-step: 8 of 8 [63%, 100%]", "spinlock-deadlock by exec-altp2m (1 of 8)",
			"Not counted: 8 hangs without a monitor."}},
		{"How fast?", "half by 137 ms", []string{"misses censored", "exec-altp2m: half by 139 ms [134 ms, 149 ms], n = 8",
			"not with hardware"}},
		{"False alarms?", "1 in 33 s", []string{"In 31 trials without a fault", "exec-step: 1 in 17 s"}},
		{"At what price?", "54% of the pace", []string{"control-busy, exec-step",
			"exec-altp2m: 57% to 88% of the guest's pace, medians of 3 scenarios"}},
		{"What did altp2m change?", "×1.68 EPT violations", []string{"exec-altp2m over exec-step: violations of an event " +
			"×1.7", "23 pairs"}},
	} {
		f, ok := by[tc.question]
		if !ok || f.Figure != tc.figure {
			t.Errorf("%s %q, want %q", tc.question, f.Figure, tc.figure)
		}
		all := strings.Join(f.Text, "\n")
		for _, want := range tc.text {
			if !strings.Contains(all, want) {
				t.Errorf("%s lacks %q:\n%s", tc.question, want, all)
			}
		}
	}
}

// TestAnswerOfOne: one is said as one, and a large rate without an exponent.
func TestAnswerOfOne(t *testing.T) {
	t.Parallel()
	one := slices.DeleteFunc(madeup.Trials(1), func(tr results.Trial) bool {
		return tr.Mechanism != "exec-step" || tr.Scenario == "control-busy"
	})
	by := facts(t, one)
	if text := strings.Join(by["What was detected?"].Text, "\n"); !strings.Contains(text, "; 1 was called by") {
		t.Errorf("detected: %s", text)
	}
	text := strings.Join(by["False alarms?"].Text, "\n")
	if !strings.Contains(text, "In 1 trial without a fault. The rate is below ") || strings.Contains(text, "e+") {
		t.Errorf("alarms: %s", text)
	}
}

// TestAnswerOnlyWhatIsKnown: a question without data is not asked.
// TestAnswerPrice: the trace is part of the price where only one of two windows has
// it, and no part where all have it.
func TestAnswerPrice(t *testing.T) {
	for _, tc := range []struct {
		trials []results.Trial
		traced bool
		want   string
	}{
		{madeup.Trials(3), true, "control-busy"},
		{madeup.Workloads(3), false, "workload-cpu, exec-altp2m"},
	} {
		all := strings.Join(facts(t, tc.trials)["At what price?"].Text, "\n")
		if got := strings.Contains(all, "trace"); got != tc.traced || !strings.Contains(all, tc.want) {
			t.Errorf("want %q, the trace a part of it %v:\n%s", tc.want, tc.traced, all)
		}
	}
}

func TestAnswerOnlyWhatIsKnown(t *testing.T) {
	all := madeup.Trials(3)
	only := func(keep func(*results.Trial) bool) []results.Trial {
		return slices.DeleteFunc(slices.Clone(all), func(tr results.Trial) bool { return !keep(&tr) })
	}
	for _, tc := range []struct {
		name   string
		trials []results.Trial
		want   string
	}{
		{"controls", only(func(t *results.Trial) bool { return t.DeadlineNS == 0 && t.Mechanism == "exec-step" }),
			"At what price? False alarms?"},
		{"one mechanism", only(func(t *results.Trial) bool { return t.Mechanism == "exec-step" }),
			"At what price? False alarms? How fast? What was detected?"},
		{"no monitor", only(func(t *results.Trial) bool { return t.Mechanism == "none" }), ""},
		{"invalid", only(func(t *results.Trial) bool { return t.Outcome == results.Invalid }), ""},
	} {
		var asked []string
		for q := range facts(t, tc.trials) {
			asked = append(asked, q)
		}
		slices.Sort(asked)
		if got := strings.Join(asked, " "); got != tc.want {
			t.Errorf("%s: asked %q, want %q", tc.name, got, tc.want)
		}
	}
	blind := madeup.Trials(2)
	for i := range blind {
		if blind[i].Outcome == results.Detected {
			blind[i].Outcome, blind[i].DetectNS = results.Missed, nil
		}
	}
	if by := facts(t, blind); by["What was detected?"].Figure != "0 of 4 hangs" ||
		by["How fast?"].Figure != "fewer than half" {
		t.Errorf("nothing detected: %+v", by)
	}
}

func TestLife(t *testing.T) {
	ns := func(n int64) *int64 { return &n }
	for _, tc := range []struct {
		name string
		t    results.Trial
		want *life
	}{
		{"control", results.Trial{Outcome: results.Clean}, nil},
		{"invalid", results.Trial{Outcome: results.Invalid, DeadlineNS: 8e9}, nil},
		{"alarm before", results.Trial{Outcome: results.FalseAlarm, DeadlineNS: 8e9}, nil},
		{"detected", results.Trial{Outcome: results.Detected, DeadlineNS: 8e9, DetectNS: ns(2e9), HangNS: ns(1e9)},
			&life{"12.5", "25.0", "verdict after 2.000 s of at most 8.0 s; last sign of life after 1.000 s"}},
		{"at once", results.Trial{Outcome: results.Detected, DeadlineNS: 8e9, DetectNS: ns(0)}, &life{"", "0.5",
			"verdict after 0.000 s of at most 8.0 s"}},
		{"late", results.Trial{Outcome: results.Detected, DeadlineNS: 8e9, DetectNS: ns(9e9), HangNS: ns(-1)},
			&life{"0.5", "100.0", "verdict after 9.000 s of at most 8.0 s; last sign of life after -0.000 s"}},
		{"missed", results.Trial{Outcome: results.Missed, DeadlineNS: 8e9}, &life{"", "",
			"no verdict by the deadline of 8.0 s"}},
	} {
		got := newLife(&tc.t)
		if (got == nil) != (tc.want == nil) || got != nil && *got != *tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

// TestOrder: the answer comes before the evidence, the trials and where they
// come from.
func TestOrder(t *testing.T) {
	page := render(t, testRun(3))
	last := -1
	for _, part := range []string{`id="answer"`, "15 of 16", `id="evidence"`, "Hangs not yet detected, over time",
		"quality of service", `id="trials"`, `id="trial-`, `id="provenance"`} {
		part = strings.Replace(part, "15 of 16", "5 of 6 hangs", 1)
		at := strings.Index(page, part)
		if at <= last {
			t.Errorf("%s is at %d, after %d", part, at, last)
		}
		last = at
	}
}

// TestLongRun: a long run's trials are folded, and damage is counted.
func TestLongRun(t *testing.T) {
	short, long := render(t, testRun(3)), render(t, testRun(20))
	if !strings.Contains(short, `<details class="trials" open>`) || strings.Contains(long,
		`<details class="trials" open>`) {
		t.Error("trials of a short run are to be seen, those of a long one on request")
	}
	if !strings.Contains(long, "<summary>spinlock-deadlock: 39 detected, 1 missed, 20 without a monitor</summary>") {
		t.Error("a folded scenario does not say what is in it")
	}
	run := testRun(1)
	for range 30 {
		run.Bad = append(run.Bad, os.ErrInvalid)
	}
	if page := render(t, run); strings.Count(page, "Left out:") != badShown+1 || !strings.Contains(page,
		"Left out: 10 more records.") {
		t.Errorf("%d notices of 30 damaged records", strings.Count(page, "Left out:"))
	}
}

// TestBrowser opens the page in a headless browser, in light and dark and on a
// phone: the answer must be shown, nothing may be fetched or reported as an
// error, and the page must not be wider than the window.
func TestBrowser(t *testing.T) {
	var browser string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		require.Missing(t, require.Browser, "no Chromium in the search path")
	}
	dir := t.TempDir()
	run := testRun(8)
	path, err := Write(dir, run, setOf(t, run))
	if err != nil {
		t.Fatal(err)
	}
	// The page has no script; the copy that is measured gets one.
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const probe = `<script>document.title = "width " + document.documentElement.scrollWidth + " of " + innerWidth + ` +
		`" fact " + document.querySelector(".fact .number").textContent</script>`
	measured := filepath.Join(dir, "measured.html")
	if err := os.WriteFile(measured, []byte(strings.Replace(string(page), "</body>", probe+"</body>", 1)),
		0o644); err != nil {
		t.Fatal(err)
	}
	chromium := func(args ...string) string {
		t.Helper()
		args = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--user-data-dir=" +
			filepath.Join(dir, "profile")}, args...)
		out, err := exec.CommandContext(t.Context(), browser, args...).Output()
		if err != nil {
			require.Missing(t, require.Browser, "%s does not run here: %v", browser, err)
		}
		return string(out)
	}
	for _, size := range []string{"1200,1600", "500,1600"} {
		dom := chromium("--window-size="+size, "--dump-dom", "file://"+measured)
		m := regexp.MustCompile(`<title>width (\d+) of (\d+) fact ([^<]*)</title>`).FindStringSubmatch(dom)
		if m == nil || m[1] != m[2] || m[3] != "15 of 16 hangs" {
			t.Errorf("window of %s: %q", size, m)
		}
	}
	shots := make(map[string][]byte)
	for name, args := range map[string][]string{
		"light": {"--window-size=1200,1600"},
		"dark":  {"--window-size=1200,1600", "--blink-settings=preferredColorScheme=0"},
		"phone": {"--window-size=500,1600"},
	} {
		shot := filepath.Join(dir, name+".png")
		chromium(append(args, "--screenshot="+shot, "file://"+path)...)
		if shots[name], err = os.ReadFile(shot); err != nil {
			t.Fatal(err)
		}
		if *keep != "" {
			if err := os.WriteFile(filepath.Join(*keep, name+".png"), shots[name], 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	light, dark := paper(t, shots["light"]), paper(t, shots["dark"])
	if light < 200 || dark > 60 {
		t.Errorf("the page is %d bright in light and %d in dark, of 255", light, dark)
	}
}

// TestAnswerSweep: a sweep is answered threshold by threshold, and nothing is
// averaged over them.
func TestAnswerSweep(t *testing.T) {
	set, err := analysis.Group(madeup.Run(madeup.Sweep(6)))
	if err != nil {
		t.Fatal(err)
	}
	facts, err := answer(set)
	if err != nil || len(facts) == 0 {
		t.Fatalf("%d facts, %v", len(facts), err)
	}
	f := facts[0]
	want := []string{
		"io_ms: no alarm from 1000 on (0 of 6), half of the faults by 1.50 s; with 500 6 of 6, half of the faults by 1.00 s",
		"soft_ms: no alarm from 4000 on (0 of 12), half of the faults by 4.50 s; with 500 6 of 12, half of the faults by " +
			"1.00 s",
	}
	if f.Question != "Which threshold?" || f.Figure != "7 values of 2 thresholds" || len(f.Text) != 3 ||
		f.Text[0] != want[0] || f.Text[1] != want[1] {
		t.Errorf("%+v", f)
	}
	for _, f := range facts[1:] {
		if f.Question == "How fast?" || f.Question == "What was detected?" {
			t.Errorf("averaged over thresholds: %+v", f)
		}
	}
	run := testRun(1)
	run.Trials = madeup.Sweep(2)
	if page := render(t, run); !strings.Contains(page, "Threshold sweep") || !strings.Contains(page,
		"Detection time against false alarms, by threshold") {
		t.Error("the page shows neither table nor figure of the sweep")
	}
}
