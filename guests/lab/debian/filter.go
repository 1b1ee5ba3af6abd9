package debian

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"
)

// Rule keeps or drops a file, or everything below a folder.
type Rule struct {
	// Pattern is a path below the prefix in the manner of [path.Match],
	// without a leading slash. It stands for what it matches and, when that is
	// a folder, for all below.
	Pattern string
	// Keep says what happens to it.
	Keep bool
}

// Filter says what of the packages is laid out. The first rule that matches
// decides; what none matches is kept.
type Filter []Rule

// Keeps reports whether the file name, a clean path below the prefix, is kept.
func (f Filter) Keeps(name string) bool {
	for _, r := range f {
		if matchTree(r.Pattern, name) {
			return r.Keep
		}
	}
	return true
}

// matchTree reports whether pattern matches name or one of its parents.
func matchTree(pattern, name string) bool {
	depth := strings.Count(pattern, "/")
	for i := 0; i < len(name); i++ {
		if name[i] != '/' {
			continue
		}
		if depth == 0 {
			name = name[:i]
			break
		}
		depth--
	}
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// valid returns an error for a pattern that path.Match does not take.
func (f Filter) valid() error {
	for _, r := range f {
		if _, err := path.Match(r.Pattern, ""); err != nil {
			return fmt.Errorf("unpack rule %q: %w", r.Pattern, err)
		}
	}
	return nil
}

// digest identifies the filter.
func (f Filter) digest() string {
	h := sha256.New()
	for _, r := range f {
		fmt.Fprintf(h, "%t %s\n", r.Keep, r.Pattern)
	}
	return hex.EncodeToString(h.Sum(nil))
}
