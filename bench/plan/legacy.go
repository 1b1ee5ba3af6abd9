package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// legacyTrial is a Trial as it was encoded before its cell was that of a record. Runs of
// then have the hash of that encoding in their manifests.
type legacyTrial struct {
	Suite      string           `json:"suite"`
	Index      int              `json:"index"`
	Block      int              `json:"block"`
	Scenario   string           `json:"scenario"`
	Mechanism  string           `json:"mechanism"`
	Driver     string           `json:"driver"`
	Guest      legacyGuest      `json:"guest"`
	Timing     any              `json:"timing"`
	BoundedMS  int64            `json:"bounded_ms,omitempty"`
	Thresholds map[string]int64 `json:"thresholds,omitempty"`
	Baselines  string           `json:"baselines,omitempty"`
	Seed       uint64           `json:"seed"`
}

type legacyGuest struct {
	Kernel     string `json:"kernel"`
	VCPUs      int    `json:"vcpus"`
	MemoryMiB  int    `json:"memory_mib"`
	Boot       string `json:"boot,omitempty"`
	Superpages bool   `json:"superpages,omitempty"`
	Neighbours int    `json:"neighbours,omitempty"`
	Programs   string `json:"programs,omitempty"`
}

// legacyHash is Hash of the earlier encoding. There were no observers then.
func legacyHash(trials []Trial) (string, error) {
	all := make([]legacyTrial, len(trials))
	for i, t := range trials {
		all[i] = legacyTrial{
			t.Suite, t.Index, t.Block, t.Scenario, t.Mechanism, t.Driver,
			legacyGuest{t.Kernel, t.VCPUs, t.MemoryMiB, t.Boot, t.Superpages, t.Neighbours, t.Programs},
			t.Timing, t.BoundedMS, t.Thresholds.Map(), t.Watchdogs, t.Seed,
		}
	}
	b, err := json.Marshal(all)
	if err != nil {
		return "", fmt.Errorf("hash the plan: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}
