package results

import (
	"strings"
	"testing"
)

// TestAlarms: alarms that cannot have been are refused.
func TestAlarms(t *testing.T) {
	t.Parallel()
	at := func(ns int64) *int64 { return &ns }
	for _, tc := range []struct {
		name           string
		neighbours     int
		alarms, beside []Alarm
		want           string
	}{
		{"in order, the last one open", 0, []Alarm{{"spin", 5, at(7)}, {"hard", 7, nil}}, nil, ""},
		{"before the one before is over", 0, []Alarm{{"spin", 5, at(7)}, {"hard", 6, nil}}, nil, "alarm 1 is out of order"},
		{"ends before it begins", 0, []Alarm{{"spin", 5, at(4)}}, nil, "alarm 0 is out of order"},
		{"of two neighbours at once", 2, nil, []Alarm{{"spin", 5, at(9)}, {"spin", 4, nil}}, ""},
		{"a neighbour's ends before it begins", 1, nil, []Alarm{{"spin", 5, at(4)}}, "neighbour's alarm 0"},
		{"a neighbour's before the window", 1, nil, []Alarm{{"spin", -5, at(4)}}, "neighbour's alarm 0"},
		{"of a neighbour that is not there", 0, nil, []Alarm{{"spin", 5, nil}}, "1 alarms about 0 neighbours"},
		{"fewer neighbours than none", -1, nil, nil, "neighbours -1"},
	} {
		tr := testTrial(0)
		tr.Neighbours, tr.Alarms, tr.NeighbourAlarms = tc.neighbours, tc.alarms, tc.beside
		switch err := tr.Validate(); {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.name, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
}
