package printable

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// JSON returns an error of encoding/json in the words of JSON. The library's own text
// names types of Go, and quotes keys and values of any length: of those it keeps the
// first 80 bytes. Other errors stay as they are.
func JSON(err error) error {
	if wrong, ok := errors.AsType[*time.ParseError](err); ok {
		return fmt.Errorf("%q is no time, as in 2026-01-02T15:04:05Z", short(strings.Trim(wrong.Value, `"`)))
	}
	// The library has no type for this error.
	if quoted, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		if key, bad := strconv.Unquote(quoted); bad == nil {
			return fmt.Errorf("there is no key %q", short(key))
		}
	}
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return err
	}
	field := wrong.Field
	if field == "" {
		field = "it"
	}
	is, value, _ := strings.Cut(wrong.Value, " ")
	name := map[string]string{"string": "a text", "bool": "true or false", "array": "a list", "object": "an object"}[is]
	if value != "" || name == "" {
		name = strings.TrimSpace("the number " + value)
	}
	return fmt.Errorf("%s is %s, and not %s", Line(short(field)), Line(short(name)), jsonType(wrong.Type))
}

// short returns at most the first 80 bytes.
func short(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

// jsonType is the JSON that a type of Go holds.
func jsonType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return jsonType(t.Elem())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number from 0 on"
	case reflect.Float32, reflect.Float64:
		return "a number in range"
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "what is expected"
}
