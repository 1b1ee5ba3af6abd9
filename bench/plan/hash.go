package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Hash returns the SHA-256 of the plan in hexadecimal digits. Plans with the same hash
// have the same trials in the same order.
func Hash(trials []Trial) (string, error) {
	b, err := json.Marshal(trials)
	if err != nil {
		return "", fmt.Errorf("hash the plan: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}
