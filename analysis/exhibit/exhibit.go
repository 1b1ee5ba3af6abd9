package exhibit

import (
	"fmt"
	"slices"
	"strings"

	"hangbench/analysis"
	"hangbench/analysis/claims"
	"hangbench/analysis/figure"
	"hangbench/analysis/table"
)

// Exhibit is one thing that can be shown of a run: a table or a figure.
type Exhibit struct {
	Name    string
	Meaning string // what it shows, in a few words
	Needs   string // the data that a figure is made of; empty for a table
	// Open tables are unfolded in a report.
	Open bool
	// Table and Figure make the exhibit. One of them is nil. Figure returns nil if the set
	// lacks the data.
	Table  func(*analysis.Set) (*table.Table, error)
	Figure func(*analysis.Set) (*figure.Figure, error)
}

// All returns every exhibit in the order of a report: claims, tables, figures.
func All() []Exhibit {
	all := []Exhibit{{Name: "claims", Meaning: "whether the claims of EXPERIMENTS.md hold", Open: true,
		Table: claims.Table}}
	for _, k := range table.Kinds() {
		all = append(all, Exhibit{Name: k.Name, Meaning: k.Meaning, Open: k.Usual && k.Name != "violations", Table: k.Make})
	}
	for _, k := range figure.Kinds() {
		all = append(all, Exhibit{Name: k.Name, Meaning: k.Meaning, Needs: k.Needs, Figure: k.Make})
	}
	return all
}

// Tables returns the exhibits that are tables.
func Tables() []Exhibit {
	return slices.DeleteFunc(All(), func(e Exhibit) bool { return e.Table == nil })
}

// Figures returns the exhibits that are figures.
func Figures() []Exhibit {
	return slices.DeleteFunc(All(), func(e Exhibit) bool { return e.Figure == nil })
}

// Parse reads the command line's list of tables: names separated by commas, or the word all.
func Parse(list string) ([]Exhibit, error) {
	tables := Tables()
	if list == "all" {
		return tables, nil
	}
	var names []string
	for _, e := range tables {
		names = append(names, e.Name)
	}
	var chosen []Exhibit
	for name := range strings.SplitSeq(list, ",") {
		i := slices.Index(names, name)
		if i < 0 {
			return nil, fmt.Errorf("there is no table %q: give all, or some of %s", name, strings.Join(names, ", "))
		}
		if !slices.ContainsFunc(chosen, func(e Exhibit) bool { return e.Name == name }) { // it is printed once
			chosen = append(chosen, tables[i])
		}
	}
	return chosen, nil
}

// Draw returns the figures for which the set has the data.
func Draw(set *analysis.Set) ([]*figure.Figure, error) {
	var all []*figure.Figure
	for _, e := range Figures() {
		f, err := e.Figure(set)
		if err != nil {
			return nil, err
		}
		if f != nil {
			all = append(all, f)
		}
	}
	return all, nil
}

// Make returns the tables of the exhibits. If empty is false it leaves out those without
// rows.
func Make(set *analysis.Set, exhibits []Exhibit, empty bool) ([]*table.Table, error) {
	var all []*table.Table
	for _, e := range exhibits {
		t, err := e.Table(set)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", e.Name, err)
		}
		if empty || len(t.Rows) > 0 {
			all = append(all, t)
		}
	}
	return all, nil
}
