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
	// Pattern is a pattern of [path.Match] for a path below the prefix, without a
	// leading slash. If it matches a folder, it applies to everything below too.
	Pattern string
	// Keep is set to keep what the pattern matches, and unset to drop it.
	Keep bool
}

// Filter selects the files of the packages that Unpack writes. The first rule that
// matches decides. A file that no rule matches is kept.
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

// digest returns a hash of the filter.
func (f Filter) digest() string {
	h := sha256.New()
	for _, r := range f {
		fmt.Fprintf(h, "%t %s\n", r.Keep, r.Pattern)
	}
	return hex.EncodeToString(h.Sum(nil))
}
