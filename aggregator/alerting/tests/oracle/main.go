// Command oracle fills in what Alertmanager makes of our cases.
//
// It reads cases, one JSON object a line: "config", the text of a configuration, or "matchers", the text of matchers, with the parser's
// "mode" (fallback unless it says "utf8" or "classic"). It prints them with "want" (how the matchers are written) or "error".
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/matcher/compat"
)

type testCase struct {
	Config   *string `json:"config,omitempty"`
	Matchers *string `json:"matchers,omitempty"`
	Mode     string  `json:"mode,omitempty"`
	Want     string  `json:"want,omitempty"`
	Error    string  `json:"error,omitempty"`
}

// load reads a configuration. Some make Alertmanager panic, which counts as refusing them.
func load(text string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	_, err = config.Load(text)
	return err
}

var features = map[string]string{"utf8": "utf8-strict-mode", "classic": "classic-mode"}

func main() {
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for lines.Scan() {
		var c testCase
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			log.Fatal(err)
		}
		flags, err := featurecontrol.NewFlags(logger, features[c.Mode])
		if err != nil {
			log.Fatal(err)
		}
		compat.InitFromFlags(logger, flags)
		c.Want, c.Error = "", ""
		if c.Config != nil {
			err = load(*c.Config)
		} else {
			matchers, failed := compat.Matchers(*c.Matchers, "oracle")
			err = failed
			for i, m := range matchers {
				if i > 0 {
					c.Want += ","
				}
				c.Want += m.String()
			}
		}
		if err != nil {
			c.Want, c.Error = "", err.Error()
		}
		if err := out.Encode(c); err != nil {
			log.Fatal(err)
		}
	}
}
