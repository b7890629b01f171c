{{/* Names, labels, and what both kinds of pods have in common. */}}

{{- define "cap.name" -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}-{{ .part }}
{{- end }}

{{- define "cap.selector" -}}
app.kubernetes.io/name: cap
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "cap.labels" -}}
{{ include "cap.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "cap.image" -}}
{{ .image.repository }}:{{ .image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "cap.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "cap.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "cap.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "cap.selector" . | nindent 8 }}
{{- end }}
