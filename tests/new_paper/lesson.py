# %% [markdown]
# # Barlow Twins
#
# **The question of this notebook.** *Can features agree without negatives, if none repeats another?*

# %%
# {{first cell}}

# %%
from sslcourse.check import check, lesson
from sslcourse.methods import barlow


# %%
def my_loss(a, b, redundancy=5e-3):
    # BEGIN SOLUTION
    return barlow.barlow_loss(a, b, redundancy)
    # END SOLUTION


loss = check("barlow.loss", my_loss)

# %%
lesson("14_barlow_twins")
