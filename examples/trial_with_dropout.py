"""
A trial with drop-out
=====================

Sixty patients in two arms, seen at five visits, some of whom leave early: means and contrasts at each visit, a
hypothesis, and the courses of patients who are still to come. One line a step.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import pmlmm

rng = np.random.default_rng(4)
months = np.array([0, 1, 2, 4, 6])
data = pd.DataFrame({"patient": np.repeat(np.arange(60), 5), "month": np.tile(months, 60)})
data["arm"] = np.where(data["patient"] % 2, "drug", "control")
data["visit"] = "month " + data["month"].astype(str)
intercept, slope = rng.normal(0, 9, 60)[data["patient"]], rng.normal(0, 1.2, 60)[data["patient"]]
effect = -2.0 * data["month"] * (data["arm"] == "drug")  # -12 at month 6
data["score"] = (50 + intercept + (slope - 0.5) * data["month"] + effect + rng.normal(0, 6, 300)).round(1)

# %%
# Who is badly off at a visit is likely not to come to the next ones. Rows that are not there are no problem as long as
# what decides is in the data: the model says what they would have been.
leaves = (data["score"] > 60) & (rng.random(300) < 0.5)
data = data[leaves.groupby(data["patient"]).transform(lambda own: own.shift(fill_value=False).cummax()) == 0]
print(data.groupby(["arm", "month"]).size().unstack().to_string())

# %%
# The fit: arm by visit, and a line of each patient's own.
fit = pmlmm.Model("score ~ arm * visit + (month | patient)", data).fit()
print(fit)

# %%
# Means of the average patient of each arm.
print(fit.means("arm", by="visit").round(1).to_string())

# %%
# The difference between the arms at each visit (truth: -2 a month).
print(fit.contrast("arm", by="visit").round(2).to_string())

# %%
# Does the difference at month 6 differ from that at baseline, and is the drug better by more than 5 at month 6?
print(fit.contrast("arm", by={"visit": ["month 0", "month 6"]}, between=True).round(2).to_string())
print(fit.hypothesis("`arm[T.drug]` + `arm[T.drug]:visit[T.month 6]` < -5").round(3).to_string())

# %%
# The same as a picture.
fit.plot_means("arm", by="visit")

# %%
# Patients who are still to come: their courses, random effects and residuals included.
arms = pd.DataFrame({"arm": np.repeat(["control", "drug"], 5), "month": np.tile(months, 2)})
to_come = arms.assign(patient=arms["arm"] + ", new", visit="month " + arms["month"].astype(str))
curves = pd.concat([arms, fit.predict(to_come, kind="response", groups="new")], axis=1)
print(curves.round(1).to_string(index=False))

# %%
# Shaded: where 95% of new observations are expected.
figure, ax = plt.subplots(layout="constrained")
for (arm, own), colour in zip(curves.groupby("arm"), ("#0a84c9", "#d55e00"), strict=True):
    ax.plot(own["month"], own["mean"], "o-", color=colour, label=arm)
    ax.fill_between(own["month"], own["lower"], own["upper"], color=colour, alpha=0.15, linewidth=0)
ax.set(xlabel="month", ylabel="score", title="new patients: mean and 95% of observations")
ax.legend()
