package results

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Settings are detector thresholds by name, in the unit that the name says. They are
// kept as one text, sorted by name, so that equal settings are equal with ==: "io_ms
// 500, soft_ms 4000". The zero Settings are empty.
type Settings string

// NewSettings makes settings of a map. An empty map makes empty settings.
func NewSettings(of map[string]int64) Settings {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, of[name]))
	}
	return Settings(strings.Join(parts, ", "))
}

// All yields names and values, sorted by name.
func (s Settings) All() iter.Seq2[string, int64] {
	return func(yield func(string, int64) bool) {
		if s == "" {
			return
		}
		for part := range strings.SplitSeq(string(s), ", ") {
			name, text, _ := strings.Cut(part, " ")
			value, err := strconv.ParseInt(text, 10, 64)
			if err == nil && !yield(name, value) {
				return
			}
		}
	}
}

// Get returns the value of a threshold. It returns false if the threshold is not set.
func (s Settings) Get(name string) (int64, bool) {
	for n, v := range s.All() {
		if n == name {
			return v, true
		}
	}
	return 0, false
}

// Map returns the settings by name; nil if there are none.
func (s Settings) Map() map[string]int64 {
	if s == "" {
		return nil
	}
	return maps.Collect(s.All())
}

// Compare orders settings by names and then by values: 500 before 2500.
func (s Settings) Compare(t Settings) int {
	type setting struct {
		name  string
		value int64
	}
	list := func(s Settings) (all []setting) {
		for n, v := range s.All() {
			all = append(all, setting{n, v})
		}
		return all
	}
	return slices.CompareFunc(list(s), list(t), func(a, b setting) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.value, b.value))
	})
}

// MarshalJSON writes the settings as an object.
func (s Settings) MarshalJSON() ([]byte, error) { return json.Marshal(s.Map()) }

// UnmarshalJSON reads an object of names and whole numbers. It refuses names that
// [Settings] cannot hold, negative values, and more than 50 entries.
func (s *Settings) UnmarshalJSON(b []byte) error {
	var of map[string]int64
	if err := json.Unmarshal(b, &of); err != nil {
		return fmt.Errorf("thresholds: %w", err)
	}
	set := NewSettings(of)
	if err := set.validate(); err != nil {
		return err
	}
	*s = set
	return nil
}

// thresholdName matches names of thresholds. This package knows none by name.
var thresholdName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

// validate refuses names that no threshold has, values that are no whole number or
// negative, and more than 50 settings.
func (s Settings) validate() error {
	if s == "" {
		return nil
	}
	const most = 50
	parts := strings.Split(string(s), ", ")
	if len(parts) > most {
		return fmt.Errorf("thresholds has %d entries, more than %d", len(parts), most)
	}
	for _, part := range parts {
		name, text, _ := strings.Cut(part, " ")
		switch v, err := strconv.ParseInt(text, 10, 64); {
		case err != nil || !thresholdName.MatchString(name):
			return fmt.Errorf("threshold %q: a name has lower-case letters, digits and underscores, 40 at most, and a value "+
				"is a whole number", part)
		case v < 0:
			return fmt.Errorf("threshold %s is %d, which is negative", name, v)
		}
	}
	return nil
}
