package analysis

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// thresholds writes the thresholds that a trial set, by name: one text for every
// setting, which can be part of a key.
func thresholds(set map[string]int64) string {
	if len(set) == 0 {
		return ""
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(set)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, set[name]))
	}
	return strings.Join(parts, ", ")
}

// Threshold is the value of one of the key's thresholds; false if it was not set.
func (k Key) Threshold(name string) (int64, bool) {
	for part := range strings.SplitSeq(k.Thresholds, ", ") {
		if rest, ok := strings.CutPrefix(part, name+" "); ok {
			v, err := strconv.ParseInt(rest, 10, 64)
			return v, err == nil
		}
	}
	return 0, false
}

// compareThresholds orders settings by the names and then by the values: 500
// before 2500.
func compareThresholds(a, b string) int {
	return slices.CompareFunc(strings.Split(a, ", "), strings.Split(b, ", "), func(a, b string) int {
		nameA, textA, _ := strings.Cut(a, " ")
		nameB, textB, _ := strings.Cut(b, " ")
		valueA, _ := strconv.ParseInt(textA, 10, 64)
		valueB, _ := strconv.ParseInt(textB, 10, 64)
		return cmp.Or(cmp.Compare(nameA, nameB), cmp.Compare(valueA, valueB))
	})
}
