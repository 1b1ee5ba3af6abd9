package table

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"hangbench/analysis"
	"hangbench/analysis/internal/madeup"
	"hangbench/results"
)

// campaign is the table of made-up trials, by the label of the row and the head of the column.
func campaign(t *testing.T, trials []results.Trial) (*Table, map[string]map[string]string) {
	t.Helper()
	set, err := analysis.Group(madeup.Run(trials))
	if err != nil {
		t.Fatal(err)
	}
	tab, err := Campaign(set)
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]map[string]string)
	for _, r := range tab.Rows {
		rows[r[0]] = make(map[string]string)
		for i, head := range tab.Head {
			name, _, _ := strings.Cut(head, " [")
			rows[r[0]][name] = r[i]
		}
	}
	return tab, rows
}

// TestCampaign: what became of the guests is counted, and verdicts are held against it.
func TestCampaign(t *testing.T) {
	t.Parallel()
	trials := madeup.Campaign()
	for _, tr := range trials {
		if err := tr.Validate(); err != nil {
			t.Fatal(err)
		}
	}
	tab, rows := campaign(t, trials)
	for label, want := range map[string]map[string]string{
		"poll": {
			"n": "13", "invalid": "1", "not-reached": "1", "none": "2", "slowed": "2", "failed": "1", "partial": "3",
			"full": "2", "crashed": "1", "grew": "1", "early": "1",
			// Partial: seen, missed, seen with a wrong class. Full: both seen, and the crash too.
			"partial covered": "2/3 [9%, 99%]", "full covered": "3/3 [29%, 100%]", "covered": "5/6 [36%, 100%]",
			"class right": "4/5 [28%, 99%]", "false alarms": "1/4 [1%, 81%]", "slow, called": "1/2",
		},
		"none": {"n": "1", "partial": "1", "partial covered": none, "covered": none, "class right": none,
			"false alarms": none, "slow, called": none},
	} {
		for head, text := range want {
			if got := rows[label][head]; got != text {
				t.Errorf("%s, %s: %q, want %q", label, head, got, text)
			}
		}
	}
	// From the first part's last sign of life: 0 for a verdict before it, 1500, 2000, 2500 and
	// 4000 ms; the miss is censored at 18 s.
	if got := rows["poll"]["T_D half by (ms)"]; !strings.HasPrefix(got, "2000.0 [0.0, ") {
		t.Errorf("T_D %q", got)
	}
	var out bytes.Buffer
	if err := tab.WriteCSV(&out); err != nil || !strings.Contains(out.String(), "\npoll,13,1,1,2,2,1,3,2,1,1,2,3,") {
		t.Errorf("%v:\n%s", err, out.String())
	}
}

// TestCampaignMistakes: each trial whose verdict does not fit is listed with its evidence.
func TestCampaignMistakes(t *testing.T) {
	t.Parallel()
	set, err := analysis.Group(madeup.Run(madeup.Campaign()))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range CampaignMistakes(set).Rows {
		got = append(got, strings.Join([]string{r[3], r[4], r[5], r[6]}, "/"))
		if r[3] == "missed" && (r[9] != "work 0" || !strings.Contains(r[10], "undecided")) {
			t.Errorf("a miss is listed as %q", r)
		}
	}
	want := []string{"false alarm/none/soft/" + none, "false alarm/slowed/spin/" + none,
		"missed/partial/" + none + "/blocked",
		"wrong class/partial/hard/blocked", "before the fault/" + none + "/spin/" + none}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestCampaignAlone: a run of nothing else has this table, and no cell.
func TestCampaignAlone(t *testing.T) {
	t.Parallel()
	set, err := analysis.Group(madeup.Run(madeup.Campaign()))
	if err != nil {
		t.Fatal(err)
	}
	tables, err := Usual(set)
	if err != nil || len(tables) != 1 || !strings.HasPrefix(tables[0].Title, "Campaign") || len(set.Cells) != 0 {
		t.Errorf("%d tables, %d cells, %v", len(tables), len(set.Cells), err)
	}
	for _, f := range []Format{Terminal, Markdown, CSV, LaTeX} {
		var out bytes.Buffer
		if err := Summary(&out, set, f); err != nil {
			t.Errorf("%v: %v", f, err)
		}
	}
	if tab, _ := campaign(t, madeup.Trials(1)); len(tab.Rows) != 0 {
		t.Errorf("a run without a campaign has %d rows", len(tab.Rows))
	}
}
