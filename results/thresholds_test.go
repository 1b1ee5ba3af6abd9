package results

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestThresholds: thresholds that were set are part of a record, in one order, and
// those that no suite can set are refused.
func TestThresholds(t *testing.T) {
	t.Parallel()
	tr := testTrial(0)
	tr.Thresholds = NewSettings(map[string]int64{"soft_ms": 7, "io_ms": 500})
	if err := tr.Validate(); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(tr)
	if err != nil || !bytes.Contains(b, []byte(`"thresholds":{"io_ms":500,"soft_ms":7}`)) {
		t.Errorf("%s, %v", b, err)
	}
	if b, err = json.Marshal(Trial{}); err != nil || bytes.Contains(b, []byte("thresholds")) {
		t.Errorf("a trial with the defaults: %s, %v", b, err)
	}
	many := make(map[string]int64)
	for i := range 51 {
		many[fmt.Sprintf("t%d", i)] = 1
	}
	for _, tc := range []struct {
		set  map[string]int64
		want string
	}{
		{map[string]int64{"": 1}, `threshold " 1"`},
		{map[string]int64{"io ms": 1}, `threshold "io ms 1"`},
		{map[string]int64{"io_ms": -1}, "threshold io_ms is -1"},
		{map[string]int64{strings.Repeat("a", 41): 1}, "40 at most"},
		{many, "51 entries"},
	} {
		tr.Thresholds = NewSettings(tc.set)
		if err := tr.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: error %v, want %q", tc.set, err, tc.want)
		}
	}
}
