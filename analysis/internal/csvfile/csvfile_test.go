package csvfile

import (
	"encoding/csv"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	t.Parallel()
	in := []string{"", "exec-step", "-1.5", "+2e9", "-Inf", "=cmd|'/c calc'!A1", "+1+2", "-2+3", "@SUM(A1)", "\tx", "\rx",
		"-", "a=b", "1, \"2\"\n3", "'x", "–"}
	want := []string{"", "exec-step", "-1.5", "+2e9", "-Inf", "'=cmd|'/c calc'!A1", "'+1+2", "'-2+3", "'@SUM(A1)", "'\tx",
		"'\rx", "'-", "a=b", "1, \"2\"\n3", "'x", "–"}
	var b strings.Builder
	if err := Write(&b, [][]string{in, in}); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for i, row := range rows {
		if !slices.Equal(row, want) {
			t.Errorf("row %d is %q\nwant %q", i, row, want)
		}
	}
}

// full is a disk without space.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestWriteFails(t *testing.T) {
	t.Parallel()
	for _, rows := range [][][]string{{{"a"}}, slices.Repeat([][]string{{strings.Repeat("a", 1000)}}, 100)} {
		if err := Write(full{}, rows); err == nil || err.Error() != "write csv: no space" {
			t.Errorf("%d rows: %v", len(rows), err)
		}
	}
}
