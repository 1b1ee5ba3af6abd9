package printable

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestJSON(t *testing.T) {
	t.Parallel()
	type inner struct {
		Total uint64 `json:"total"`
	}
	var to struct {
		Schema int            `json:"schema"`
		Time   *int64         `json:"time_ns"`
		Ratio  float64        `json:"ratio"`
		Name   string         `json:"name"`
		Done   bool           `json:"done"`
		EPT    *inner         `json:"ept"`
		List   []int          `json:"list"`
		Map    map[string]int `json:"map"`
		At     time.Time      `json:"at"`
	}
	long := strings.Repeat("1234567890", 100)
	for text, want := range map[string]string{
		`{"schema": "1"}`:           "schema is a text, and not a whole number",
		`{"time_ns": 1.5}`:          "time_ns is the number 1.5, and not a whole number",
		`{"time_ns": 1e308}`:        "time_ns is the number 1e308, and not a whole number",
		`{"ratio": 1e999}`:          "ratio is the number 1e999, and not a number in range",
		`{"ept": {"total": -1}}`:    "ept.total is the number -1, and not a whole number from 0 on",
		`{"ept": []}`:               "ept is a list, and not an object",
		`{"name": {}}`:              "name is an object, and not a text",
		`{"name": 5}`:               "name is the number, and not a text",
		`{"done": "x"}`:             "done is a text, and not true or false",
		`{"list": {}}`:              "list is an object, and not a list",
		`{"list": [true]}`:          "list is true or false, and not a whole number",
		`{"map": {"a": "b"}}`:       "map is a text, and not a whole number",
		`{"at": "yesterday"}`:       `"yesterday" is no time, as in 2026-01-02T15:04:05Z`,
		`{"at": "` + long + `"}`:    `"` + long[:80] + `..." is no time, as in 2026-01-02T15:04:05Z`,
		`{"schema": 1` + long + `}`: "schema is the number 1" + long[:68] + "..., and not a whole number",
		`{"nmae": 5}`:               `there is no key "nmae"`,
		`{"` + long + `": 5}`:       `there is no key "` + long[:80] + `..."`,
		`[]`:                        "it is a list, and not an object",
	} {
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		err := d.Decode(&to)
		if err == nil {
			t.Errorf("%s is decoded", text)
			continue
		}
		if got := JSON(err).Error(); got != want {
			t.Errorf("%s: %q, want %q (from %v)", text, got, want, err)
		}
	}
	if err := json.Unmarshal([]byte(`{`), &to); JSON(err).Error() != err.Error() || strings.Contains(err.Error(), "Go") {
		t.Errorf("%v is %v", err, JSON(err))
	}
	if !errors.Is(JSON(io.EOF), io.EOF) {
		t.Error("another error does not stay")
	}
}
