package exhibit

import (
	"testing"

	"hangbench/analysis"
	"hangbench/analysis/internal/madeup"
)

func TestParse(t *testing.T) {
	t.Parallel()
	if all, err := Parse("all"); err != nil || len(all) != len(Tables()) {
		t.Errorf("all: %d tables, %v", len(all), err)
	}
	if two, err := Parse("qos,claims"); err != nil || len(two) != 2 || two[0].Name != "qos" || two[1].Name != "claims" {
		t.Errorf("two: %v, %v", two, err)
	}
	for _, bad := range []string{"", "speed", "qos,", "all,qos", "survival"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%q is a list of tables", bad)
		}
	}
}

// TestAll: every exhibit has a name of its own, a meaning and one way of making it, and
// a figure says what it needs.
func TestAll(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, e := range All() {
		kind := "table "
		if e.Table == nil {
			kind = "figure "
		}
		if e.Name == "" || e.Meaning == "" || (e.Table == nil) == (e.Figure == nil) || seen[kind+e.Name] {
			t.Errorf("exhibit %+v", e)
		}
		if e.Figure != nil && e.Needs == "" {
			t.Errorf("figure %s does not say what it needs", e.Name)
		}
		seen[kind+e.Name] = true
	}
	for _, want := range []string{"table claims", "table detection", "table metrics", "figure overview",
		"figure survival"} {
		if !seen[want] {
			t.Errorf("there is no %s", want)
		}
	}
	if len(Tables())+len(Figures()) != len(All()) {
		t.Error("an exhibit is neither a table nor a figure")
	}
}

// TestMake: tables without rows are left out on request only, and figures without data
// always.
func TestMake(t *testing.T) {
	t.Parallel()
	set, err := analysis.Group(madeup.Run(madeup.Trials(3)))
	if err != nil {
		t.Fatal(err)
	}
	all, err := Make(set, Tables(), true)
	if err != nil || len(all) != len(Tables()) {
		t.Fatalf("%d tables, %v", len(all), err)
	}
	some, err := Make(set, Tables(), false)
	if err != nil || len(some) == 0 || len(some) >= len(all) {
		t.Errorf("%d of %d tables have rows, %v", len(some), len(all), err)
	}
	for _, tab := range some {
		if len(tab.Rows) == 0 {
			t.Errorf("table %q has no rows", tab.Title)
		}
	}
	drawn, err := Draw(set)
	if err != nil || len(drawn) == 0 || len(drawn) >= len(Figures()) {
		t.Fatalf("%d of %d figures, %v", len(drawn), len(Figures()), err)
	}
	if drawn[0].Name != "overview" {
		t.Errorf("the first figure is %s", drawn[0].Name)
	}
}
