package suites

import (
	"fmt"
	"strings"
)

// DidYouMean returns ` (did you mean "x"?)` for the nearest of the valid names, and an
// empty text if none is near. A name is near if at most a third of the letters differ, or
// if one of the two names begins with the other.
func DidYouMean(got string, valid []string) string {
	best, bestDist := "", len(got)/3+1
	for _, v := range valid {
		d := editDistance(strings.ToLower(got), v)
		if len(got) >= 3 && (strings.HasPrefix(v, got) || strings.HasPrefix(got, v)) {
			d = min(d, 1)
		}
		if d <= bestDist && (best == "" || d < bestDist) {
			best, bestDist = v, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// editDistance is the Levenshtein distance in bytes, by the usual two rows.
func editDistance(a, b string) int {
	if len(a) > 200 { // longer than any name; keeps hostile input cheap
		return len(a)
	}
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := prev[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, prev[j+1]+1, row[j]+1)
		}
		prev = row
	}
	return prev[len(b)]
}
