{{- define "penstock.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{- define "penstock.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The pods of "penstock deposits" are others, which no selector of the service's takes in. */}}
{{- define "penstock.depositsSelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-deposits
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "penstock.labels" -}}
{{ include "penstock.selector" . }}
{{ include "penstock.commonLabels" . }}
{{- end }}

{{- define "penstock.depositsLabels" -}}
{{ include "penstock.depositsSelector" . }}
{{ include "penstock.commonLabels" . }}
{{- end }}

{{- define "penstock.commonLabels" -}}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "penstock.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "penstock.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end -}}
{{- end }}

{{- define "penstock.scheme" -}}
{{ if .Values.http.tls.secret }}HTTPS{{ else }}HTTP{{ end }}
{{- end }}

{{/* The log-in at the brokers, and more variables. */}}
{{- define "penstock.loginEnv" -}}
{{- if .Values.sasl.secret }}
- name: {{ eq .Values.sasl.mechanism "oauthbearer" | ternary "PENSTOCK_SASL_OAUTH_SECRET" "PENSTOCK_SASL_PASSWORD" }}
  valueFrom:
    secretKeyRef: {name: {{ .Values.sasl.secret }}, key: {{ .Values.sasl.key }}}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The files that the configuration names. */}}
{{- define "penstock.mounts" -}}
- {name: config, mountPath: /etc/penstock, readOnly: true}
{{- if and .Values.tls.enabled .Values.tls.secret }}
- {name: tls, mountPath: /etc/penstock-tls, readOnly: true}
{{- end }}
{{- if .Values.http.tls.secret }}
- {name: http-tls, mountPath: /etc/penstock-http, readOnly: true}
{{- end }}
{{- end }}

{{- define "penstock.volumes" -}}
- name: config
  configMap: {name: {{ include "penstock.name" . }}}
{{- if and .Values.tls.enabled .Values.tls.secret }}
- name: tls
  secret: {secretName: {{ .Values.tls.secret }}, defaultMode: 0440}
{{- end }}
{{- if .Values.http.tls.secret }}
- name: http-tls
  secret: {secretName: {{ .Values.http.tls.secret }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{/* The configuration file: the values that have names of their own go before those of config. */}}
{{- define "penstock.config" -}}
{{- $own := dict "brokers" .Values.brokers "app" .Values.app "input" .Values.input "output" .Values.output
  "state-dir" "/var/lib/penstock" "http" (printf ":%v" .Values.http.port) "stay" .Values.stay }}
{{- if .Values.http.tls.secret }}
{{- $_ := set $own "http-tls-cert" "/etc/penstock-http/tls.crt" }}
{{- $_ := set $own "http-tls-key" "/etc/penstock-http/tls.key" }}
{{- if .Values.http.tls.ca }}{{ $_ := set $own "http-tls-ca" (printf "/etc/penstock-http/%s" .Values.http.tls.ca) }}{{ end }}
{{- else if .Values.http.tls.ca }}
{{- fail "http.tls.ca is a key of the Secret http.tls.secret, which is not set" }}
{{- end }}
{{- with .Values.tls }}
{{- if .enabled }}
{{- $_ := set $own "tls" true }}
{{- if .ca }}{{ $_ := set $own "tls-ca" (printf "/etc/penstock-tls/%s" .ca) }}{{ end }}
{{- if .cert }}{{ $_ := set $own "tls-cert" (printf "/etc/penstock-tls/%s" .cert) }}{{ end }}
{{- if .key }}{{ $_ := set $own "tls-key" (printf "/etc/penstock-tls/%s" .key) }}{{ end }}
{{- end }}
{{- end }}
{{- with .Values.sasl }}
{{- if ne .mechanism "none" }}
{{- $_ := set $own "sasl" .mechanism }}
{{- if .user }}{{ $_ := set $own "sasl-user" .user }}{{ end }}
{{- if .oauth.tokenURL }}{{ $_ := set $own "sasl-oauth-url" .oauth.tokenURL }}{{ end }}
{{- if .oauth.scope }}{{ $_ := set $own "sasl-oauth-scope" .oauth.scope }}{{ end }}
{{- end }}
{{- end }}
{{- toYaml (merge $own .Values.config) }}
{{- end }}

{{/* How the Prometheus operator asks a pod for its metrics. */}}
{{- define "penstock.scrape" -}}
port: http
path: /metrics
interval: {{ .Values.serviceMonitor.interval }}
{{- if .Values.http.tls.secret }}
scheme: https
tlsConfig:
  ca:
    secret: {name: {{ .Values.http.tls.secret }}, key: {{ .Values.http.tls.ca | default "ca.crt" }}}
  serverName: {{ include "penstock.name" . }}
{{- end }}
{{- if .Values.http.token.secret }}
authorization:
  credentials: {name: {{ .Values.http.token.secret }}, key: {{ .Values.http.token.key }}}
{{- end }}
{{- end }}
